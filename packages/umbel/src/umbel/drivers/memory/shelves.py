"""The shelves port of the memory driver. Called through ``umbel.ports`` only."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime

from umbel.drivers.memory.result_backend import MemoryResultBackend
from umbel.drivers.memory.shelf import Held, Kept
from umbel.drivers.memory.shelf import Shelf as QueueShelf
from umbel.drivers.memory.store import MemoryStore
from umbel.drivers.shelving import results_first
from umbel.model.shelves import Aside, Page, Selection, Shelf, Shelved, Withdrawal
from umbel.ports import ResultBackend, Shelves


class MemoryShelves(Shelves):
    """What rests in one store. Every method is one atomic step."""

    def __init__(self, store: MemoryStore, results: ResultBackend | None) -> None:
        self._store = store
        same = isinstance(results, MemoryResultBackend) and results.memory is store
        self._results = None if same else results
        self._same_store = same

    def page(
        self, shelf: Shelf, queue: str, selection: Selection, *, after: str | None, limit: int
    ) -> Page:
        begin = (-1.0, -1) if after is None else _place(after)
        with self._store.lock:
            found = [
                entry
                for entry in self._entries(shelf, queue)
                if _place(entry.id) > begin and _wanted(entry, selection)
            ]
        entries = tuple(found[:limit])
        return Page(entries, entries[-1].id if entries and len(found) > limit else None)

    def fetch(self, shelf: Shelf, queue: str, ids: Sequence[str]) -> Sequence[Shelved]:
        wanted = set(ids)
        with self._store.lock:
            return [entry for entry in self._entries(shelf, queue) if entry.id in wanted]

    def _entries(self, shelf: Shelf, queue: str) -> list[Shelved]:
        kept = self._store.shelf(queue)
        if shelf is Shelf.QUARANTINE:
            return [_kept_entry(each) for each in kept.aside.values()]
        return [_delayed_entry(*each) for each in sorted(kept.delayed, key=lambda each: each[:2])]

    def withdraw(
        self, shelf: Shelf, queue: str, withdrawals: Sequence[Withdrawal]
    ) -> Sequence[str]:
        if self._results is not None:
            present = {each.id for each in self.fetch(shelf, queue, [w.id for w in withdrawals])}
            results_first(self._results, [each for each in withdrawals if each.id in present])
        with self._store.lock:
            kept = self._store.shelf(queue)
            done = [each.id for each in withdrawals if self._take(shelf, kept, each)]
            self._store.ring()
        return done

    def _take(self, shelf: Shelf, kept: QueueShelf, withdrawal: Withdrawal) -> bool:
        held = _taken(shelf, kept, withdrawal.id)
        if held is None:
            return False
        if self._same_store:
            self._store.results.forget(withdrawal.forget)
            self._store.results.store(withdrawal.records)
        if withdrawal.raw is None:
            return True
        held.raw, held.why = withdrawal.raw, None
        if shelf is Shelf.QUARANTINE:
            held.count = 0
        due = None if withdrawal.due_at is None else withdrawal.due_at.timestamp()
        kept.add(held, due=due, now=self._store.now())
        return True

    def set_aside(self, asides: Sequence[Aside]) -> None:
        with self._store.lock:
            now = self._store.now()
            for each in asides:
                held = Held(queue=each.queue, raw=each.raw, priority=0, count=each.count)
                self._store.shelf(each.queue).set_aside(
                    held, each.verdict, at=now, worker=each.worker
                )


def _kept_entry(kept: Kept) -> Shelved:
    held, verdict = kept.held, kept.verdict
    return Shelved(
        id=f"{kept.at!r}-{kept.number}",
        queue=held.queue,
        raw=held.raw,
        at=datetime.fromtimestamp(kept.at, UTC),
        count=held.count,
        reason=verdict.reason,
        detail=verdict.detail,
        error=verdict.error,
        worker=kept.worker,
    )


def _delayed_entry(due: float, place: int, held: Held) -> Shelved:
    return Shelved(
        id=f"{due!r}-{place}",
        queue=held.queue,
        raw=held.raw,
        at=datetime.fromtimestamp(due, UTC),
        count=held.count,
        reason=held.why or "",
    )


def _place(entry_id: str) -> tuple[float, int]:
    """Return what an id says about the order; nothing is before (-1, -1)."""
    moment, _, number = entry_id.rpartition("-")
    try:
        return float(moment), int(number)
    except ValueError:
        return -1.0, -1


def _wanted(entry: Shelved, selection: Selection) -> bool:
    return (
        (selection.since is None or entry.at >= selection.since)
        and (selection.until is None or entry.at < selection.until)
        and (not selection.containing or any(part in entry.raw for part in selection.containing))
    )


def _taken(shelf: Shelf, kept: QueueShelf, entry_id: str) -> Held | None:
    """Take a message off its shelf and return it, if it is there."""
    if shelf is Shelf.QUARANTINE:
        number = _place(entry_id)[1]
        found = kept.aside.get(number)
        return kept.aside.pop(number).held if found and _kept_entry(found).id == entry_id else None
    for index, each in enumerate(kept.delayed):
        if _place(entry_id) == each[:2]:
            kept.delayed[index] = kept.delayed[-1]
            kept.delayed.pop()
            heapq.heapify(kept.delayed)
            return each[2]
    return None
