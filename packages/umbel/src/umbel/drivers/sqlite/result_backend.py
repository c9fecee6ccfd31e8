"""The result port of the SQLite driver. Called through ``umbel.ports`` only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from umbel.clock import Clock
from umbel.drivers.sqlite import bells, joins
from umbel.drivers.sqlite import records as rows
from umbel.drivers.sqlite.bells import Bell, Interest
from umbel.drivers.sqlite.connection import PRODUCT, Connection, ConnectionPool
from umbel.drivers.sqlite.location import Location
from umbel.drivers.sqlite.statements import SQL
from umbel.errors import BackendUnavailable
from umbel.model.join import JoinParts, JoinStep
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp
from umbel.ports import ResultBackend, Watcher


class SqliteResultBackend(ResultBackend):
    """Results in one database file, for any number of processes of one machine."""

    counts_joins = True

    def __init__(self, location: Location, clock: Clock) -> None:
        self.location = location
        """Compared by consumers: the same file settles in one transaction."""
        self._clock = clock
        self._pool = ConnectionPool(location, BackendUnavailable)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def store(self, records: Sequence[ResultRecord]) -> None:
        if not records:
            return
        with self._pool.writing() as database:
            rows.store(database, records, self._now())
        bells.ring(self.location.path, Interest.RESULTS)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        with self._pool.reading() as database:
            found = rows.fetch(database, list(task_ids), self._now())
        return {task_id: record for task_id, (_, record) in found.items()}

    def open_watcher(self) -> SqliteWatcher:
        return SqliteWatcher(self.location, self._clock)

    def forget(self, task_ids: Sequence[str]) -> None:
        if not task_ids:
            return
        with self._pool.writing() as database:
            database.executemany(SQL["forget_result"], [(task_id,) for task_id in task_ids])

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        until = None if expires is None else self._now() + expires
        with self._pool.writing() as database:
            database.execute(SQL["store_group"], (group_id, until, document))

    def fetch_group(self, group_id: str) -> bytes | None:
        with self._pool.reading() as database:
            row = database.execute(SQL["fetch_group"], (group_id, self._now())).fetchone()
        return None if row is None else bytes(row[0])

    def forget_group(self, group_id: str) -> None:
        with self._pool.writing() as database:
            database.execute(SQL["forget_group"], (group_id,))

    def join(self, steps: Sequence[JoinStep]) -> Sequence[FollowUp]:
        if not steps:
            return ()
        with self._pool.writing() as database:
            return joins.perform(database, steps, self._now(), again=True)

    def fetch_join(self, join_id: str) -> JoinParts | None:
        with self._pool.reading() as database:
            return joins.fetch(database, join_id, self._now())

    def ping(self) -> str:
        with self._pool.reading() as database:
            database.execute(SQL["last_result"]).fetchone()
        return PRODUCT

    def close(self) -> None:
        self._pool.close()


class SqliteWatcher(Watcher):
    """Hears of results stored by any process."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._clock = clock
        self._connection = Connection(location, BackendUnavailable)
        self._told: dict[str, int] = {}
        """Watched id -> serial of the last record told of it, 0 for none."""
        self._serial = 0
        self._woken = False
        self._bell = Bell(location.path, Interest.RESULTS)
        # What is stored from now on has a higher serial; what is there is read by watch().
        with self._connection.reading() as database:
            self._serial = database.execute(SQL["last_result"]).fetchone()[0] or 0

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        ids = list(task_ids)
        with self._connection.reading() as database:
            found = rows.fetch(database, ids, self._clock.now().timestamp())
        for task_id in ids:
            self._told.setdefault(task_id, 0)
        for task_id, (serial, _) in found.items():
            self._told[task_id] = serial
        return {task_id: record for task_id, (_, record) in found.items()}

    def unwatch(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._told.pop(task_id, None)

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        deadline = time.monotonic() + timeout
        while True:
            woken, self._woken = self._woken, False
            told = self._look()
            remaining = deadline - time.monotonic()
            if told or woken or remaining <= 0:
                return told
            self._bell.wait(min(remaining, self._bell.patience))

    def _look(self) -> list[ResultRecord]:
        with self._connection.reading() as database:
            self._serial, found = rows.since(
                database, self._serial, self._told, self._clock.now().timestamp()
            )
        told: list[ResultRecord] = []
        for serial, record in found:
            if serial > self._told[record.task_id]:
                self._told[record.task_id] = serial
                told.append(record)
        return told

    def wake(self) -> None:
        self._woken = True
        self._bell.wake()

    def close(self) -> None:
        self._bell.close()
        self._connection.close()
