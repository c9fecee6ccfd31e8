"""The shelves port on PostgreSQL. Called through ``umbel.ports`` only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from umbel.drivers.postgres import packing
from umbel.drivers.postgres.bells import Bell, Bells
from umbel.drivers.postgres.connection import ConnectionPool
from umbel.drivers.postgres.result_backend import PostgresResultBackend
from umbel.drivers.shelving import results_first
from umbel.model.shelves import Aside, Page, Selection, Shelf, Shelved, Withdrawal
from umbel.ports import ResultBackend, Shelves

MOST_READ = 5000
"""Rows that one call looks at."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime(1, 1, 2, tzinfo=UTC), -1)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
_NOWHERE = (_FIRST[0], -2)
_NAMES = {Shelf.QUARANTINE: "quarantine", Shelf.DELAYED: "delayed"}


class PostgresShelves(Shelves):
    """What rests in one schema. An id is the moment, in microseconds, and the number of a row."""

    def __init__(self, pool: ConnectionPool, bells: Bells, results: ResultBackend | None) -> None:
        self._pool = pool
        self._bells = bells
        self._same_store = isinstance(results, PostgresResultBackend) and pool.address.same_store(
            results.address
        )
        self._results = None if self._same_store else results

    def page(
        self, shelf: Shelf, queue: str, selection: Selection, *, after: str | None, limit: int
    ) -> Page:
        begin = _FIRST if after is None else _parsed(after)
        with self._pool.lend() as connection:
            rows = connection.one(
                f"page_{_NAMES[shelf]}",
                queue=queue,
                moment=begin[0],
                number=begin[1],
                since=selection.since or _FIRST[0],
                until=selection.until or _LAST,
                limit=limit if not selection.containing else MOST_READ,
            )
        found: list[Shelved] = []
        last: str | None = None
        for row in rows:
            last = _id_of(row)
            if _contains(row[4], selection.containing):
                found.append(_entry(queue, row))
                if len(found) >= limit:
                    break
        more = len(found) >= limit or len(rows) >= MOST_READ
        return Page(tuple(found), last if more else None)

    def fetch(self, shelf: Shelf, queue: str, ids: Sequence[str]) -> Sequence[Shelved]:
        places = [_parsed(each) for each in dict.fromkeys(ids)]
        if not places:
            return []
        with self._pool.lend() as connection:
            rows = connection.one(
                f"fetch_{_NAMES[shelf]}",
                queue=queue,
                moments=[moment for moment, _ in places],
                numbers=[number for _, number in places],
            )
        return [_entry(queue, row) for row in rows]

    def withdraw(
        self, shelf: Shelf, queue: str, withdrawals: Sequence[Withdrawal]
    ) -> Sequence[str]:
        once: dict[str, Withdrawal] = {}
        for each in withdrawals:
            once.setdefault(each.id, each)
        chosen = list(once.values())
        if self._results is not None:
            present = {one.id for one in self.fetch(shelf, queue, [each.id for each in chosen])}
            results_first(self._results, [each for each in chosen if each.id in present])
        if not chosen:
            return []
        values = _withdrawn(chosen, here=self._same_store)
        rings = self._rings(queue, chosen)
        with self._pool.lend() as connection:
            step = connection.step(f"withdraw_{_NAMES[shelf]}", queue=queue, **values)
            (rows,) = connection.run([step], rings=rings)
        gone = {_id_of(row) for row in rows}
        return [each.id for each in chosen if each.id in gone]

    def _rings(self, queue: str, withdrawals: Sequence[Withdrawal]) -> list[tuple[Bell, str]]:
        rings: list[tuple[Bell, str]] = []
        if any(each.raw is not None for each in withdrawals):
            rings += self._bells.of_queues([queue])
        if self._same_store:
            rings += self._bells.of_results(
                record.task_id for each in withdrawals for record in each.records
            )
        return rings

    def set_aside(self, asides: Sequence[Aside]) -> None:
        if not asides:
            return
        with self._pool.lend() as connection:
            connection.one(
                "add_quarantined",
                queues=[packing.text_of(each.queue, "a queue's name") for each in asides],
                counts=[each.count for each in asides],
                reasons=[packing.cleaned(each.verdict.reason) for each in asides],
                details=[packing.cleaned(each.verdict.detail) for each in asides],
                errors=[packing.cleaned(each.verdict.error) for each in asides],
                workers=[packing.cleaned(each.worker) for each in asides],
                raws=[each.raw for each in asides],
            )


def _withdrawn(withdrawals: Sequence[Withdrawal], *, here: bool) -> dict[str, Any]:
    """Return the arrays of a withdrawal; ``here``: results rest in the same schema."""
    places = [_parsed(each.id) for each in withdrawals]
    records = [
        (number, record)
        for (_, number), each in zip(places, withdrawals, strict=True)
        for record in each.records
        if here
    ]
    stored = {record.task_id for _, record in records}
    forgotten = [
        (number, task_id)
        for (_, number), each in zip(places, withdrawals, strict=True)
        for task_id in each.forget
        if here and task_id not in stored
    ]
    return {
        "moments": [moment for moment, _ in places],
        "numbers": [number for _, number in places],
        "raws": [each.raw for each in withdrawals],
        "dues": [each.due_at for each in withdrawals],
        "f_ids": [number for number, _ in forgotten],
        "f_tasks": [task_id for _, task_id in forgotten],
        **packing.records_of(records),
    }


def _id_of(row: Sequence[Any]) -> str:
    return f"{(row[0] - _EPOCH) // _MICROSECOND}-{row[1]}"


def _parsed(entry_id: str) -> tuple[datetime, int]:
    """Return the moment and the number in an id; of what is none, those of no row."""
    moment, _, number = entry_id.rpartition("-")
    try:
        found = _EPOCH + int(moment) * _MICROSECOND, int(number)
    except (ValueError, OverflowError):
        return _NOWHERE
    return found if 0 <= found[1] < 1 << 63 else _NOWHERE


def _entry(queue: str, row: Sequence[Any]) -> Shelved:
    at, _, count, reason, raw, detail, error, worker = row
    return Shelved(
        id=_id_of(row),
        queue=queue,
        raw=bytes(raw),
        at=at.astimezone(UTC),
        count=count,
        reason=reason or "",
        detail=detail,
        error=error,
        worker=worker,
    )


def _contains(raw: bytes, parts: Sequence[bytes]) -> bool:
    return not parts or any(part in raw for part in parts)
