"""The broker port on PostgreSQL: what is not on the way of a single message.

``open`` in this package makes it. Publishing is in ``publisher``, claiming and settling in
``consumer``, sending inside a caller's transaction in ``transactions``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from umbel.drivers.postgres import packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import BROKER, ConnectionPool, product
from umbel.drivers.postgres.consumer import PostgresConsumer
from umbel.drivers.postgres.migrator import PostgresMigrator
from umbel.drivers.postgres.publisher import PostgresPublisher
from umbel.drivers.postgres.result_backend import PostgresResultBackend
from umbel.drivers.postgres.shelves import PostgresShelves
from umbel.drivers.postgres.transactions import publish_within
from umbel.errors import ImproperlyConfigured
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue, QueueStats
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Capabilities, ResultBackend

_read_presence = msgspec.msgpack.Decoder(Presence).decode


class PostgresBroker(Broker):
    """Thread-safe. Keeps a few connections for what it does itself."""

    capabilities = Capabilities(
        delay=True,
        priority=True,
        lease=True,
        celery_peers=False,
        quarantine=True,
        resting=True,
        transactions=True,
    )

    def __init__(self, address: Address) -> None:
        self._address = address
        self._bells = Bells(address.schema)
        self._pool = ConnectionPool(address, BROKER)

    def declare(self, queues: Sequence[Queue]) -> None:
        """Make the tables where there are none; a queue is there as soon as it is named."""
        for queue in queues:
            packing.text_of(queue.name, "a queue's name")
        with self._pool.lend() as connection:
            connection.ensure()

    def open_publisher(self) -> PostgresPublisher:
        return PostgresPublisher(self._address, self._bells)

    def publish_within(self, transaction: Any, outgoing: Sequence[Outgoing]) -> None:
        publish_within(transaction, self._address, self._bells, outgoing)

    def open_consumer(
        self,
        queues: Sequence[Queue],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None = None,
    ) -> PostgresConsumer:
        if not queues:
            raise ImproperlyConfigured("a consumer needs at least one queue")
        here = isinstance(results, PostgresResultBackend) and self._address.same_store(
            results.address
        )
        return PostgresConsumer(
            self._address,
            self._bells,
            list(dict.fromkeys(queue.name for queue in queues)),
            presence=presence,
            lease=lease,
            results=None if here else results,
            results_here=here,
        )

    def shelves(self, results: ResultBackend | None = None) -> PostgresShelves:
        return PostgresShelves(self._pool, self._bells, results)

    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        if not queues:
            return ()
        with self._pool.lend() as connection:
            rows = connection.one("stats", queues=list(queues))
        return [
            QueueStats(
                name=name,
                ready=ready,
                claimed=claimed,
                delayed=delayed,
                quarantined=aside,
                quarantined_since=since,
            )
            for name, ready, claimed, delayed, aside, since in rows
        ]

    def purge(self, queue: str) -> int:
        with self._pool.lend() as connection:
            ((count,),) = connection.one("purge", queue=queue)
        return int(count)

    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        last = {each.task_id: each for each in revocations}
        if not last:
            return
        chosen = [last[task_id] for task_id in sorted(last)]
        with self._pool.lend() as connection:
            connection.run(
                [
                    connection.step("in_turn", key=self._bells.control.key),
                    connection.step(
                        "revoke",
                        tasks=[packing.text_of(each.task_id, "a task's id") for each in chosen],
                        terminates=[each.terminate for each in chosen],
                        signals=[each.signal for each in chosen],
                        keep=keep,
                    ),
                    connection.step("tell", channel=self._bells.control.channel),
                ]
            )

    def presences(self) -> Sequence[Presence]:
        with self._pool.lend() as connection:
            rows = connection.one("presences")
        return [_read_presence(row[0]) for row in rows]

    def migrator(self) -> PostgresMigrator:
        return PostgresMigrator(self._address)

    def ping(self) -> str:
        with self._pool.lend() as connection:
            return product(connection)

    def close(self) -> None:
        self._pool.close()
