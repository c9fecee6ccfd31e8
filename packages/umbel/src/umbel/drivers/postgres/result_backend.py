"""The result port on PostgreSQL. Called through ``umbel.ports`` only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from umbel.drivers.postgres import joins, packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import BACKEND, ConnectionPool, product
from umbel.drivers.postgres.migrator import PostgresMigrator
from umbel.drivers.postgres.watcher import PostgresWatcher, record_of
from umbel.model.join import JoinParts, JoinStep
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp
from umbel.ports import ResultBackend


class PostgresResultBackend(ResultBackend):
    """Results in one schema of one database."""

    counts_joins = True

    def __init__(self, address: Address) -> None:
        self.address = address
        """Compared by consumers: the same store settles in one transaction."""
        self._bells = Bells(address.schema)
        self._pool = ConnectionPool(address, BACKEND)

    def store(self, records: Sequence[ResultRecord]) -> None:
        if not records:
            return
        arrays = packing.records(records)
        with self._pool.lend() as connection:
            connection.run(
                [connection.step("store_results", **arrays)],
                rings=self._bells.of_results(arrays["r_tasks"]),
            )

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        if not task_ids:
            return {}
        with self._pool.lend() as connection:
            rows = connection.one("fetch_results", tasks=list(task_ids))
        return {row[0]: record_of(row) for row in rows}

    def open_watcher(self) -> PostgresWatcher:
        return PostgresWatcher(self.address, self._bells)

    def forget(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            with self._pool.lend() as connection:
                connection.one("forget_results", tasks=list(task_ids))

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        with self._pool.lend() as connection:
            connection.one("store_group", group=group_id, life=expires, document=document)

    def fetch_group(self, group_id: str) -> bytes | None:
        with self._pool.lend() as connection:
            rows = connection.one("fetch_group", group=group_id)
        return bytes(rows[0][0]) if rows else None

    def forget_group(self, group_id: str) -> None:
        with self._pool.lend() as connection:
            connection.one("forget_group", group=group_id)

    def join(self, steps: Sequence[JoinStep]) -> Sequence[FollowUp]:
        if not steps:
            return ()
        free = ((joins.FREE, step) for step in steps)
        with self._pool.lend() as connection:
            first = joins.locks(connection, self._bells, steps)
            runs = joins.runs(connection, joins.FREE, free, send=False)
            rows = connection.run([*first, *(run.step for run in runs)])[len(first) :]
        told = zip(runs, rows, strict=True)
        return [follow_up for run, some in told for follow_up in run.sent(some)]

    def fetch_join(self, join_id: str) -> JoinParts | None:
        with self._pool.lend() as connection:
            return joins.parts_of(connection.one("fetch_join", join=join_id))

    def migrator(self) -> PostgresMigrator:
        return PostgresMigrator(self.address)

    def ping(self) -> str:
        with self._pool.lend() as connection:
            return product(connection)

    def close(self) -> None:
        self._pool.close()
