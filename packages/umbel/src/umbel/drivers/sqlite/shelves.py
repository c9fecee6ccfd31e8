"""The shelves port of the SQLite driver. Called through ``umbel.ports`` only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from umbel.clock import Clock
from umbel.drivers.shelving import results_first
from umbel.drivers.sqlite import bells, messages, records
from umbel.drivers.sqlite.bells import Interest
from umbel.drivers.sqlite.connection import ConnectionPool, Database
from umbel.drivers.sqlite.result_backend import SqliteResultBackend
from umbel.drivers.sqlite.statements import SQL
from umbel.model.shelves import Aside, Page, Selection, Shelf, Shelved, Withdrawal
from umbel.ports import ResultBackend, Shelves

MOST_READ = 5000
"""Rows that one call looks at: about 10 ms, in which nobody can shorten the log."""

_PAGE = {Shelf.QUARANTINE: "page_quarantine", Shelf.DELAYED: "page_resting"}
_FETCH = {Shelf.QUARANTINE: "fetch_quarantine", Shelf.DELAYED: "fetch_resting"}
_BEFORE_ALL = (-math.inf, -1)
_NOWHERE = (math.nan, -1)


class SqliteShelves(Shelves):
    """What rests in one database file. An id is the moment and the number of the row."""

    def __init__(self, pool: ConnectionPool, clock: Clock, results: ResultBackend | None) -> None:
        self._pool = pool
        self._clock = clock
        self._same_store = (
            isinstance(results, SqliteResultBackend) and results.location.path == pool.location.path
        )
        self._results = None if self._same_store else results

    def page(
        self, shelf: Shelf, queue: str, selection: Selection, *, after: str | None, limit: int
    ) -> Page:
        begin = _BEFORE_ALL if after is None else _parsed(after)
        since = -math.inf if selection.since is None else selection.since.timestamp()
        until = math.inf if selection.until is None else selection.until.timestamp()
        found: list[Shelved] = []
        last: str | None = None
        read = 0
        with self._pool.reading() as database:
            values = (queue, *begin, since, until, MOST_READ)
            for row in database.execute(SQL[_PAGE[shelf]], values):
                last, read = _id_of(row), read + 1
                if _contains(row[4], selection.containing):
                    found.append(_entry(shelf, queue, row))
                    if len(found) >= limit:
                        break
        there_is_more = len(found) >= limit or read >= MOST_READ
        return Page(tuple(found), last if there_is_more else None)

    def fetch(self, shelf: Shelf, queue: str, ids: Sequence[str]) -> Sequence[Shelved]:
        with self._pool.reading() as database:
            return _fetch(database, shelf, queue, ids)

    def withdraw(
        self, shelf: Shelf, queue: str, withdrawals: Sequence[Withdrawal]
    ) -> Sequence[str]:
        if self._results is not None:
            present = {one.id for one in self.fetch(shelf, queue, [w.id for w in withdrawals])}
            results_first(self._results, [each for each in withdrawals if each.id in present])
        now = self._clock.now().timestamp()
        with self._pool.writing() as database:
            done = [each for each in withdrawals if _take(database, shelf, queue, each, now)]
            if self._same_store:
                forgotten = [(task_id,) for each in done for task_id in each.forget]
                database.executemany(SQL["forget_result"], forgotten)
                stored = [record for each in done for record in each.records]
                records.store(database, stored, now)
        path = self._pool.location.path
        if any(each.raw is not None for each in done):
            bells.ring(path, Interest.MESSAGES)
        if self._same_store and any(each.records for each in done):
            bells.ring(path, Interest.RESULTS)
        return [each.id for each in done]

    def set_aside(self, asides: Sequence[Aside]) -> None:
        now = self._clock.now().timestamp()
        rows = [
            (
                each.queue,
                each.count,
                each.verdict.reason,
                each.verdict.detail,
                each.verdict.error,
                each.worker,
                now,
                each.raw,
            )
            for each in asides
        ]
        with self._pool.writing() as database:
            database.executemany(SQL["add_quarantined"], rows)


def _fetch(database: Database, shelf: Shelf, queue: str, ids: Sequence[str]) -> list[Shelved]:
    found: list[Shelved] = []
    for each in dict.fromkeys(ids):
        row = database.execute(SQL[_FETCH[shelf]], (queue, *_parsed(each))).fetchone()
        if row is not None:
            found.append(_entry(shelf, queue, row))
    return found


def _take(database: Database, shelf: Shelf, queue: str, withdrawal: Withdrawal, now: float) -> bool:
    """Take one message off its shelf to where it goes; False when it is not there."""
    moment, number = _parsed(withdrawal.id)
    if shelf is Shelf.DELAYED:
        gone = database.execute(SQL["drop_resting"], (queue, moment, number))
        if gone.rowcount != 1:
            return False
        if withdrawal.raw is None:
            database.execute(SQL["drop_message"], (number,))
            return True
        database.execute(SQL["replace_raw"], (withdrawal.raw, number))
    else:
        rows = database.execute(SQL["drop_quarantined"], (queue, moment, number)).fetchall()
        if not rows:
            return False
        if withdrawal.raw is None:
            return True
        number = messages.take_places(database, 1)
        row = (number, queue, rows[0][0], number, withdrawal.raw)
        database.execute(SQL["add_message"], row)
    due = None if withdrawal.due_at is None else withdrawal.due_at.timestamp()
    if due is not None and due > now:
        database.execute(SQL["add_resting"], (queue, due, number))
        return True
    place = messages.take_places(database, 1)
    database.execute(SQL["move_to_place"], (place, number))
    database.execute(SQL["ready_again"], (number,))
    return True


def _id_of(row: tuple[float, int, *tuple[object, ...]]) -> str:
    return f"{row[0]!r}-{row[1]}"


def _parsed(entry_id: str) -> tuple[float, int]:
    """Return the moment and the number in an id; of what is none, those of no row."""
    moment, _, number = entry_id.rpartition("-")
    try:
        found = float(moment), int(number)
    except ValueError:
        return _NOWHERE
    return found if found[1] < 1 << 63 else _NOWHERE


def _entry(
    shelf: Shelf,
    queue: str,
    row: tuple[float, int, int, str | None, bytes, *tuple[str | None, ...]],
) -> Shelved:
    detail, error, worker = row[5:] if shelf is Shelf.QUARANTINE else (None, None, None)
    return Shelved(
        id=_id_of(row),
        queue=queue,
        raw=row[4],
        at=datetime.fromtimestamp(row[0], UTC),
        count=row[2],
        reason=row[3] or "",
        detail=detail,
        error=error,
        worker=worker,
    )


def _contains(raw: bytes, parts: Sequence[bytes]) -> bool:
    return not parts or any(part in raw for part in parts)
