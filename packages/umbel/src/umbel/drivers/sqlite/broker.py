"""The broker port of the SQLite driver. Called through ``umbel.ports`` only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from umbel.clock import Clock
from umbel.drivers.sqlite import bells, messages
from umbel.drivers.sqlite.bells import Interest
from umbel.drivers.sqlite.boot import BOOT
from umbel.drivers.sqlite.connection import PRODUCT, Connection, ConnectionPool, Database
from umbel.drivers.sqlite.consumer import SqliteConsumer
from umbel.drivers.sqlite.location import Location
from umbel.drivers.sqlite.shelves import SqliteShelves
from umbel.drivers.sqlite.statements import SQL
from umbel.errors import BrokerUnavailable
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue, QueueStats
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Capabilities, Publisher, ResultBackend


class SqliteBroker(Broker):
    """Queues in one database file, for any number of processes of one machine."""

    capabilities = Capabilities(
        delay=True, priority=True, lease=True, celery_peers=False, quarantine=True, resting=True
    )

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._pool = ConnectionPool(location, BrokerUnavailable)

    def declare(self, queues: Sequence[Queue]) -> None:  # noqa: ARG002 - a queue is but a name
        """Make the file and its tables; a queue is there as soon as it is named."""
        with self._pool.reading():
            pass

    def open_publisher(self) -> SqlitePublisher:
        return SqlitePublisher(self._location, self._clock)

    def open_consumer(
        self,
        queues: Sequence[Queue],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None = None,
    ) -> SqliteConsumer:
        return SqliteConsumer(
            self._location,
            self._clock,
            [queue.name for queue in queues],
            presence=presence,
            lease=lease,
            results=results,
        )

    def shelves(self, results: ResultBackend | None = None) -> SqliteShelves:
        return SqliteShelves(self._pool, self._clock, results)

    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        now = self._clock.now().timestamp()
        with self._pool.reading() as database:
            return [_stats(database, queue, now) for queue in queues]

    def purge(self, queue: str) -> int:
        with self._pool.writing() as database:
            return messages.purge(database, queue)

    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        until = self._clock.now().timestamp() + keep
        rows = [(each.task_id, each.terminate, each.signal, until) for each in revocations]
        with self._pool.writing() as database:
            database.executemany(SQL["revoke"], rows)
        bells.ring(self._location.path, Interest.MESSAGES)

    def presences(self) -> Sequence[Presence]:
        with self._pool.reading() as database:
            alive = (BOOT, self._clock.monotonic())
            rows = database.execute(SQL["presences"], alive).fetchall()
        return [msgspec.msgpack.decode(row[0], type=Presence) for row in rows]

    def ping(self) -> str:
        with self._pool.reading() as database:
            database.execute(SQL["last_revocation"]).fetchone()
        return PRODUCT

    def close(self) -> None:
        self._pool.close()


def _stats(database: Database, queue: str, now: float) -> QueueStats:
    def count(name: str, *values: object) -> int:
        return int(database.execute(SQL[name], (queue, *values)).fetchone()[0])

    aside, since = database.execute(SQL["count_quarantined"], (queue,)).fetchone()
    return QueueStats(
        name=queue,
        ready=count("count_ready") + count("count_due", now),
        claimed=count("count_claimed"),
        delayed=count("count_resting", now),
        quarantined=aside,
        quarantined_since=None if since is None else datetime.fromtimestamp(since, UTC),
    )


class SqlitePublisher(Publisher):
    """Adds messages, any number in one transaction."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._connection = Connection(location, BrokerUnavailable)
        self._clock = clock

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        if not outgoing:
            return
        rows = messages.encode(outgoing)
        with self._connection.writing(timeout) as database:
            messages.add(database, rows, self._clock.now().timestamp())
        bells.ring(self._connection.location.path, Interest.MESSAGES)

    def close(self) -> None:
        self._connection.close()
