"""The broker port on RabbitMQ: what is not on the way of a single message.

``open`` in this package makes it. Publishing is in ``publisher``, claiming and settling in
``consumer``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence

from pamqp import commands

from umbel.drivers.amqp import fleet
from umbel.drivers.amqp.address import Address
from umbel.drivers.amqp.connection import BROKER, Connection
from umbel.drivers.amqp.consumer import AmqpConsumer
from umbel.drivers.amqp.declaring import Declarer
from umbel.drivers.amqp.publisher import AmqpPublisher
from umbel.errors import ImproperlyConfigured, Unroutable
from umbel.model.presence import Presence
from umbel.model.queues import Queue, QueueStats
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Capabilities, Consumer, Publisher, ResultBackend

_DECLARING, _READING = 1, 2


class AmqpBroker(Broker):
    """Thread-safe. Keeps one connection for what it does itself, and one to publish."""

    def __init__(self, address: Address) -> None:
        self.capabilities = Capabilities(
            delay=True,
            priority=True,
            lease=False,
            celery_peers=True,
            pushes=True,
            counts_all=False,
            delay_step=1.0,
            highest_first=address.priority_scale == "celery",
        )
        self._address = address
        self._lock = threading.Lock()
        self._pid = 0
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._connection = Connection(self._address, BROKER)
        self._declarer = Declarer(self._connection, _DECLARING)
        self._publisher = AmqpPublisher(self._address)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[float]:
        """Have the connections for this thread; yields the deadline."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()  # the parent's may have been held when it forked
            self._renew()
        with self._lock:
            deadline = (
                time.monotonic() + self._address.connect_timeout + self._address.socket_timeout
            )
            self._connection.ensure(deadline)
            yield deadline

    def declare(self, queues: Sequence[Queue]) -> None:
        with self._alone() as deadline:
            self._declarer.forget()
            for queue in queues:
                self._declarer.declare(queue, deadline)
                self._declarer.declare_delay(queue, deadline)

    def open_publisher(self) -> Publisher:
        return AmqpPublisher(self._address)

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
        return AmqpConsumer(self._address, queues, presence, lease, results)

    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        """Return what waits in each of these queues.

        What is claimed and what rests until later the protocol does not tell: None.
        """
        found: list[QueueStats] = []
        with self._alone() as deadline:
            for name in queues:
                look = commands.Queue.Declare(queue=name, passive=True)
                ready = 0
                with contextlib.suppress(Unroutable):
                    reply = self._declarer.call(
                        look, commands.Queue.DeclareOk, f"queue {name!r}", deadline
                    )
                    ready = reply.message_count or 0
                found.append(QueueStats(name=name, ready=ready, claimed=None, delayed=None))
        return found

    def purge(self, queue: str) -> int:
        """Drop what waits in the queue; what rests until later comes all the same."""
        with self._alone() as deadline, contextlib.suppress(Unroutable):
            purge = commands.Queue.Purge(queue=queue)
            what = f"queue {queue!r}"
            reply = self._declarer.call(purge, commands.Queue.PurgeOk, what, deadline)
            return reply.message_count or 0
        return 0

    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        if not revocations:
            return
        with self._alone() as deadline:
            remaining = deadline - time.monotonic()
            fleet.declare(self._publisher, fleet.REVOCATIONS, timeout=remaining)
            self._publisher.post(fleet.revoked(revocations, keep=keep), timeout=remaining)

    def presences(self) -> Sequence[Presence]:
        with self._alone() as deadline:
            remaining = deadline - time.monotonic()
            fleet.declare(self._publisher, fleet.PRESENCES, timeout=remaining)
            reader = Connection(self._address, BROKER)
            try:
                reader.ensure(deadline)
                follower = fleet.Follower(reader, _READING, fleet.PRESENCES)
                follower.follow(self._publisher, fleet.lookback(), deadline)
                return follower.presences()
            finally:
                reader.close()

    def ping(self) -> str:
        with self._alone():
            return self._connection.product

    def close(self) -> None:
        if self._pid == os.getpid():
            with self._lock:
                self._connection.close()
                self._publisher.close()
