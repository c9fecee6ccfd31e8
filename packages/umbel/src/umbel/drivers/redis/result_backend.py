"""The result backend port on Redis: Celery's keys, documents and channels.

``open`` in this package makes it. A consumer whose broker is on the same server writes records by
itself, in the script that settles the claim; this is for everybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from umbel.drivers.documents import record_of
from umbel.drivers.redis import checkup
from umbel.drivers.redis.address import Address, Options
from umbel.drivers.redis.connection import BACKEND, Argument
from umbel.drivers.redis.connection_pool import ConnectionPool
from umbel.drivers.redis.join_packing import Place, pack_joins, read_join
from umbel.drivers.redis.keys import ResultKeys
from umbel.drivers.redis.scripts import JOIN, STORE
from umbel.drivers.redis.watcher import RedisWatcher
from umbel.model.join import FillSlot, JoinParts, JoinStep
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp
from umbel.ports import ResultBackend, Watcher

_T = TypeVar("_T")

_CHUNK = 1000
"""Keys in one command: a bigger one would keep the server from everybody else."""


class RedisResultBackend(ResultBackend):
    """Thread-safe. Keeps a few connections, one for each thread that uses it at the same time."""

    counts_joins = True

    def __init__(self, options: Options) -> None:
        self.address: Address = options.address
        self.keys = ResultKeys(options.keys.global_keyprefix)
        self._pool = ConnectionPool(options.address, BACKEND)

    def store(self, records: Sequence[ResultRecord]) -> None:
        for chunk in _chunks(records):
            keys: list[bytes] = []
            arguments: list[Argument] = []
            for record in chunk:
                keys.append(self.keys.task(record.task_id))
                arguments += (record.document, life_of(record.expires))
            with self._pool.lend() as connection:
                STORE.run(connection, keys, arguments, self._pool.deadline())

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        found: dict[str, ResultRecord] = {}
        for chunk in _chunks(task_ids):
            with self._pool.lend() as connection:
                documents = connection.call(
                    ("MGET", *map(self.keys.task, chunk)), self._pool.deadline()
                )
            for task_id, document in zip(chunk, documents, strict=True):
                if document is not None:
                    found[task_id] = record_of(task_id, document)
        return found

    def open_watcher(self) -> Watcher:
        return RedisWatcher(self.address, self.keys)

    def forget(self, task_ids: Sequence[str]) -> None:
        for chunk in _chunks(task_ids):
            with self._pool.lend() as connection:
                connection.call(("UNLINK", *map(self.keys.task, chunk)), self._pool.deadline())

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        command: list[Argument] = ["SET", self.keys.group(group_id), document]
        if expires:
            command += ["PX", life_of(expires)]
        with self._pool.lend() as connection:
            connection.call(command, self._pool.deadline())

    def fetch_group(self, group_id: str) -> bytes | None:
        with self._pool.lend() as connection:
            document = connection.call(("GET", self.keys.group(group_id)), self._pool.deadline())
        assert document is None or isinstance(document, bytes)
        return document

    def forget_group(self, group_id: str) -> None:
        with self._pool.lend() as connection:
            connection.call(("UNLINK", self.keys.group(group_id)), self._pool.deadline())

    def join(self, steps: Sequence[JoinStep]) -> Sequence[FollowUp]:
        due: list[FollowUp] = []
        for chunk in _chunks(steps):
            fills: list[FollowUp] = []

            def place(step: FillSlot, fills: list[FollowUp] = fills) -> Place:
                fills.append(step.then)
                return len(fills) - 1, b"-", b""

            arguments: list[Argument] = [len(chunk)]
            pack_joins(chunk, self.keys, place, arguments)
            with self._pool.lend() as connection:
                told = JOIN.run(connection, [], arguments, self._pool.deadline())
            due += [fills[int(number)] for number in told]
        return due

    def fetch_join(self, join_id: str) -> JoinParts | None:
        key = self.keys.group(join_id)
        with self._pool.lend() as connection:
            size, grown, taken = connection.call(
                ("MGET", key + b".s", key + b".t", key + b".c"), self._pool.deadline()
            )
            parts = connection.call(("ZRANGE", key + b".j", 0, -1), self._pool.deadline())
        return read_join(size, grown, taken, parts)

    def ping(self) -> str:
        with self._pool.lend() as connection:
            return checkup.product(connection, self._pool.deadline())

    def close(self) -> None:
        self._pool.close()


def life_of(expires: float | None) -> int:
    """Return a document's life in ms; 0 is for ever."""
    return 0 if not expires else max(1, round(expires * 1000))


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
