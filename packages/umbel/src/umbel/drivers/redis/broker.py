"""The broker port on Redis: what is not on the way of a single message.

``open`` in this package makes it. Publishing is in ``publisher``, claiming and settling in
``consumer``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from umbel.drivers.redis import checkup
from umbel.drivers.redis.address import Options
from umbel.drivers.redis.connection import BROKER, Command
from umbel.drivers.redis.connection_pool import ConnectionPool
from umbel.drivers.redis.consumer import RedisConsumer
from umbel.drivers.redis.keys import Keys, ResultKeys
from umbel.drivers.redis.packing import SettlementPacker
from umbel.drivers.redis.publisher import RedisPublisher, expiry_of
from umbel.drivers.redis.result_backend import RedisResultBackend
from umbel.drivers.redis.scripts import BIND_EXPIRING, PURGE, REVOKE, STATS
from umbel.drivers.redis.shelves import RedisShelves, moment_of
from umbel.errors import ImproperlyConfigured
from umbel.model.presence import Presence
from umbel.model.queues import Queue, QueueStats
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Capabilities, Consumer, Publisher, ResultBackend, Shelves

_LEAST_BINDING_LIFE = 3_600_000

_write_revocation = msgspec.json.Encoder().encode
_read_presence = msgspec.json.Decoder(Presence).decode


class RedisBroker(Broker):
    """Thread-safe. Keeps a few connections for what it does itself."""

    capabilities = Capabilities(
        delay=True, priority=True, lease=True, celery_peers=True, quarantine=True, resting=True
    )

    def __init__(self, options: Options) -> None:
        self._options = options
        self._keys = Keys(options.keys)
        self._pool = ConnectionPool(options.address, BROKER)

    def declare(self, queues: Sequence[Queue]) -> None:
        keys = self._keys
        permanent: list[Command] = []
        expiring: list[tuple[Queue, int]] = []
        for queue in queues:
            if not queue.exchange:
                continue  # the default exchange needs no table: the routing key is the queue
            life = expiry_of(queue.arguments)
            if life is not None:
                expiring.append((queue, max(2 * life, _LEAST_BINDING_LIFE)))
                continue
            member = keys.binding_member(queue)
            permanent.append(("SADD", keys.binding(queue.exchange), member))
            permanent.append(("SADD", keys.permanent_binding(queue.exchange), member))
        if not permanent and not expiring:
            return
        deadline = self._pool.deadline()
        with self._pool.lend() as connection:
            if permanent:
                connection.pipeline(permanent, deadline)
            for queue, life in expiring:
                BIND_EXPIRING.run(
                    connection,
                    [keys.binding(queue.exchange), keys.binding_deadlines],
                    [keys.binding_member(queue), queue.exchange, life],
                    deadline,
                )

    def open_publisher(self) -> Publisher:
        return RedisPublisher(self._options.address, self._keys)

    def open_consumer(
        self,
        queues: Sequence[Queue],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None = None,
    ) -> Consumer:
        if not queues:
            raise ImproperlyConfigured("a consumer needs at least one queue")
        address = self._options.address
        result_keys, result_db = self._here(results)
        return RedisConsumer(
            self._options,
            self._keys,
            queues,
            presence,
            lease,
            SettlementPacker(self._keys, address.db, result_keys, result_db, presence.name),
            None if result_keys is not None else results,
        )

    def _here(self, results: ResultBackend | None) -> tuple[ResultKeys | None, int | None]:
        """Return the keys of results that our scripts can write, and their database if another."""
        address = self._options.address
        if not isinstance(results, RedisResultBackend) or not address.same_server(results.address):
            return None, None
        return results.keys, None if results.address.db == address.db else results.address.db

    def shelves(self, results: ResultBackend | None = None) -> Shelves:
        result_keys, result_db = self._here(results)
        return RedisShelves(
            self._pool,
            self._keys,
            self._options.address.db,
            result_keys,
            result_db,
            None if result_keys is not None else results,
        )

    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        deadline = self._pool.deadline()
        found: list[QueueStats] = []
        with self._pool.lend() as connection:
            for name in queues:
                queue = self._keys.queue(name)
                keys = [queue.owners, queue.claims, queue.delayed, queue.quarantine, *queue.lists]
                ready, claimed, delayed, aside, since = STATS.run(connection, keys, [], deadline)
                found.append(
                    QueueStats(
                        name=name,
                        ready=ready,
                        claimed=claimed,
                        delayed=delayed,
                        quarantined=aside,
                        quarantined_since=None if since is None else moment_of(since),
                    )
                )
        return found

    def purge(self, queue: str) -> int:
        keys = self._keys.queue(queue)
        with self._pool.lend() as connection:
            dropped = PURGE.run(
                connection, [keys.delayed, keys.alarm, *keys.lists], [], self._pool.deadline()
            )
        return int(dropped)

    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        if not revocations:
            return
        keys = self._keys
        with self._pool.lend() as connection:
            REVOKE.run(
                connection,
                [keys.revoked_order, keys.revoked_expiry, keys.revoked_version],
                [max(1, round(keep * 1000)), *map(_write_revocation, revocations)],
                self._pool.deadline(),
            )

    def presences(self) -> Sequence[Presence]:
        deadline = self._pool.deadline()
        with self._pool.lend() as connection:
            owners = connection.call(("ZRANGE", self._keys.worker_leases, 0, -1), deadline)
            if not owners:
                return ()
            keys = [self._keys.worker(owner.decode()) for owner in owners]
            documents = connection.call(("MGET", *keys), deadline)
        # The documents carry the lease as their life; the sorted set only lists who there may be.
        return [_read_presence(document) for document in documents if document is not None]

    def ping(self) -> str:
        with self._pool.lend() as connection:
            return checkup.product(connection, self._pool.deadline())

    def warnings(self) -> Sequence[str]:
        """Return sentences about what may lose or delay messages on this server.

        For the doctor: eviction, persistence, memory, clock. Raises OperationalError.
        """
        with self._pool.lend() as connection:
            return checkup.warnings(connection, self._pool.deadline(), time.time)

    def close(self) -> None:
        self._pool.close()
