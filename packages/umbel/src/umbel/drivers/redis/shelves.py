"""The shelves port on Redis: two sorted sets of each queue, read and changed by scripts.

``broker`` makes it. An id is the score of a message and its place among equals (``resting.lua``):
with both a script finds it by halving, however many rest there. Nothing indexes the task ids inside
the messages: who looks for one has the server read the set, some hundred messages a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from umbel.drivers.redis.connection import Argument
from umbel.drivers.redis.connection_pool import ConnectionPool
from umbel.drivers.redis.keys import Keys, QueueKeys, ResultKeys
from umbel.drivers.redis.packing import line_of
from umbel.drivers.redis.publisher import milliseconds
from umbel.drivers.redis.result_backend import life_of
from umbel.drivers.redis.scripts import SHELF_ASIDE, SHELF_FETCH, SHELF_PAGE, SHELF_WITHDRAW
from umbel.drivers.shelving import results_first
from umbel.model.shelves import Aside, Page, Selection, Shelf, Shelved, Withdrawal
from umbel.ports import ResultBackend, Shelves

MOST_READ = 1000
"""Messages that one call of a script looks at: about a millisecond of the server's time."""
BYTES_READ = 4_000_000
"""Bytes of them, about."""
PLACE = 17
"""Bytes of a member that are its place among those of one score."""


class _Line(msgspec.Struct):
    """What stands before the envelope. ``reason`` is also why a delayed one must wait."""

    reason: str = ""
    detail: str | None = None
    error: str | None = None
    worker: str | None = None
    count: int = 0


_read_line = msgspec.json.Decoder(_Line).decode
_NOTHING = _Line()


class RedisShelves(Shelves):
    """Thread-safe: borrows the connections of its broker."""

    def __init__(
        self,
        pool: ConnectionPool,
        keys: Keys,
        db: int,
        result_keys: ResultKeys | None,
        result_db: int | None,
        results: ResultBackend | None,
    ) -> None:
        """``result_keys``: of results that the scripts write; ``results``: of those elsewhere."""
        self._pool = pool
        self._keys = keys
        self._databases: list[Argument] = [db, "" if result_db is None else result_db]
        self._check = [] if result_db is None else [("SELECT", result_db), ("SELECT", db)]
        self._result_keys = result_keys
        self._results = results

    def page(
        self, shelf: Shelf, queue: str, selection: Selection, *, after: str | None, limit: int
    ) -> Page:
        keys = self._keys.queue(queue)
        since, until = selection.since, selection.until
        arguments: list[Argument] = [
            limit,
            MOST_READ,
            BYTES_READ,
            "-inf" if since is None else milliseconds(since),
            "+inf" if until is None else milliseconds(until),
            *(("", "") if after is None else _parsed(after)),
            *selection.containing,
        ]
        with self._pool.lend() as connection:
            deadline = self._pool.deadline()
            reply = SHELF_PAGE.run(
                connection, [_shelf_key(shelf, keys), keys.deliveries], arguments, deadline
            )
        entries = tuple(_entries(queue, reply[2:]))
        return Page(entries, _id_of(reply[0], reply[1]) if reply[0] else None)

    def fetch(self, shelf: Shelf, queue: str, ids: Sequence[str]) -> Sequence[Shelved]:
        keys = self._keys.queue(queue)
        arguments: list[Argument] = []
        for each in dict.fromkeys(ids):
            arguments += _parsed(each)
        if not arguments:
            return []
        with self._pool.lend() as connection:
            deadline = self._pool.deadline()
            reply = SHELF_FETCH.run(
                connection, [_shelf_key(shelf, keys), keys.deliveries], arguments, deadline
            )
        return list(_entries(queue, reply))

    def withdraw(
        self, shelf: Shelf, queue: str, withdrawals: Sequence[Withdrawal]
    ) -> Sequence[str]:
        withdrawals = [each for each in withdrawals if _parsed(each.id)]
        if not withdrawals:
            return []
        if self._results is not None:
            present = {one.id for one in self.fetch(shelf, queue, [w.id for w in withdrawals])}
            results_first(self._results, [each for each in withdrawals if each.id in present])
        keys = self._keys.queue(queue)
        arguments: list[Argument] = [1 if shelf is Shelf.QUARANTINE else 0, *self._databases]
        for each in withdrawals:
            self._pack(each, arguments)
        with self._pool.lend() as connection:
            deadline = self._pool.deadline()
            if self._check:
                connection.pipeline(self._check, deadline)
            done = SHELF_WITHDRAW.run(
                connection,
                [_shelf_key(shelf, keys), keys.deliveries, keys.delayed, keys.alarm, *keys.lists],
                arguments,
                deadline,
            )
        return [withdrawals[number].id for number in done]

    def _pack(self, withdrawal: Withdrawal, arguments: list[Argument]) -> None:
        arguments += _parsed(withdrawal.id)
        if withdrawal.raw is None:
            arguments.append("d")
        else:
            due = withdrawal.due_at
            arguments += ("b", withdrawal.raw, "" if due is None else milliseconds(due))
        results = self._result_keys
        if results is None:
            arguments += (0, 0)
            return
        arguments.append(len(withdrawal.records))
        for record in withdrawal.records:
            arguments += (results.task(record.task_id), record.document, life_of(record.expires))
        arguments.append(len(withdrawal.forget))
        arguments += map(results.task, withdrawal.forget)

    def set_aside(self, asides: Sequence[Aside]) -> None:
        by_queue: dict[str, list[Argument]] = {}
        for each in asides:
            key, line = line_of(each.verdict, each.worker)
            by_queue.setdefault(each.queue, []).extend((key, each.count, line, each.raw))
        with self._pool.lend() as connection:
            for queue, arguments in by_queue.items():
                keys = [self._keys.queue(queue).quarantine]
                SHELF_ASIDE.run(connection, keys, arguments, self._pool.deadline())


def moment_of(score: bytes) -> datetime:
    """Return the moment that a score stands for."""
    return datetime.fromtimestamp(int(float(score)) / 1000, UTC)


def _shelf_key(shelf: Shelf, keys: QueueKeys) -> bytes:
    return keys.quarantine if shelf is Shelf.QUARANTINE else keys.delayed


def _id_of(score: bytes, place: bytes) -> str:
    return f"{int(float(score))}-{place.decode('latin-1')}"


def _parsed(entry_id: str) -> tuple[int, bytes] | tuple[()]:
    """Return score and place; nothing for what is no id."""
    score, _, place = entry_id.partition("-")
    if not (score.isascii() and score.isdigit() and place):
        return ()
    try:
        return int(score), place.encode("latin-1")
    except UnicodeEncodeError:
        return ()


def _entries(queue: str, reply: Sequence[Any]) -> Iterable[Shelved]:
    for score, member, count in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
        line, raw = _opened(member)
        yield Shelved(
            id=_id_of(score, member[:PLACE]),
            queue=queue,
            raw=raw,
            at=moment_of(score),
            count=line.count or count,
            reason=line.reason,
            detail=line.detail,
            error=line.error,
            worker=line.worker,
        )


def _opened(member: bytes) -> tuple[_Line, bytes]:
    if member[1:2] == b"{":
        return _NOTHING, member[1:]  # of an older release
    line, _, raw = member[PLACE:].partition(b"\n")
    return (_read_line(line) if line else _NOTHING), raw
