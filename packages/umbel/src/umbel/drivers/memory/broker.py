"""The broker port of the memory driver. Called through ``umbel.ports`` only."""

from __future__ import annotations

import time
from collections.abc import Sequence

from umbel.drivers.elsewhere import stored_elsewhere
from umbel.drivers.memory.result_backend import MemoryResultBackend
from umbel.drivers.memory.shelves import MemoryShelves
from umbel.drivers.memory.store import MemoryStore
from umbel.drivers.selfpipe import SelfPipe
from umbel.model.delivery import Delivery, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue, QueueStats
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Capabilities, Consumer, Exchange, Publisher, ResultBackend
from umbel.version import __version__

LONGEST_WAIT = 0.5
"""Seconds between looks at the clock while something rests: a manual clock rings no bell."""


class MemoryBroker(Broker):
    """Queues that live as long as the process."""

    capabilities = Capabilities(
        delay=True, priority=True, lease=True, celery_peers=False, quarantine=True, resting=True
    )

    def __init__(self, store: MemoryStore) -> None:
        self.memory = store

    def declare(self, queues: Sequence[Queue]) -> None:
        """Nothing to make: a queue is there as soon as it is named."""

    def open_publisher(self) -> MemoryPublisher:
        return MemoryPublisher(self.memory)

    def open_consumer(
        self,
        queues: Sequence[Queue],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None = None,
    ) -> MemoryConsumer:
        return MemoryConsumer(self.memory, queues, presence, lease, results)

    def shelves(self, results: ResultBackend | None = None) -> MemoryShelves:
        return MemoryShelves(self.memory, results)

    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        return self.memory.stats(queues)

    def purge(self, queue: str) -> int:
        return self.memory.purge(queue)

    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        self.memory.revoke(revocations, keep)

    def presences(self) -> Sequence[Presence]:
        return self.memory.presences()

    def ping(self) -> str:
        return f"Umbel memory {__version__}"

    def close(self) -> None:
        """Nothing to let go of: the messages stay for the next use."""


class MemoryPublisher(Publisher):
    """Puts messages on the shelves. Cannot fail, so the deadline never passes."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:  # noqa: ARG002 - never waits
        self._store.publish(outgoing)

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryConsumer(Consumer):
    """Claims from the shelves of one store."""

    def __init__(
        self,
        store: MemoryStore,
        queues: Sequence[Queue],
        presence: Presence,
        lease: float,
        results: ResultBackend | None,
    ) -> None:
        self._store = store
        self._names = [queue.name for queue in queues]
        self._turn = 0
        self._presence = presence
        self._lease = lease
        # Results of this very store are written inside settle(), others before it.
        same = isinstance(results, MemoryResultBackend) and results.memory is store
        self._results = None if same else results
        self._same_store = same
        self._seen_serial = 0
        self._told_serial = 0
        self._pipe = SelfPipe()
        self._woken = False
        store.register(presence, lease, self._pipe)

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deadline = time.monotonic() + timeout
        while True:
            woken, self._woken = self._woken, False
            claimed = self._claim(limit)
            remaining = deadline - time.monotonic()
            if claimed or woken or remaining <= 0 or self._news():
                return claimed
            self._pipe.wait(self._until_next(remaining))

    def _until_next(self, remaining: float) -> float:
        seconds = self._store.until_next_event(self._names)
        if seconds is None:
            return remaining
        return min(remaining, max(0.001, seconds), LONGEST_WAIT)

    def _news(self) -> bool:
        """True once for every change of what is revoked, so that a waiting worker hears of it."""
        serial = self._store.revoked_serial()
        news, self._seen_serial = serial != self._seen_serial, serial
        return news

    def _claim(self, limit: int) -> list[Delivery]:
        turn = self._turn % max(1, len(self._names))
        self._turn += limit > 0  # turns are of claims: else a rhythm of calls could starve a queue
        queues = self._names[turn:] + self._names[:turn]
        return self._store.claim(self._presence, self._lease, queues, limit)

    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        if self._results is not None:
            # Race: a claim may be rescued between this check and settle(). Then the record is
            # written although the verdict is refused: the task runs again, and its record replaces
            # this one; its slot of a join stays as it is filled.
            held = self._store.holds(self._presence.owner, [each.receipt for each in settlements])
            settlements = stored_elsewhere(self._results, settlements, held)
        lost = self._store.settle(self._presence.owner, settlements, with_records=self._same_store)
        return Exchange(tuple(lost), tuple(self._claim(limit) if limit else ()))

    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        self._presence = presence
        return self._store.extend(presence, self._lease, receipts)

    def revocations(self) -> Sequence[Revocation]:
        self._told_serial, revoked = self._store.revoked_since(self._told_serial)
        self._seen_serial = self._told_serial
        return revoked

    def wake(self) -> None:
        self._woken = True
        self._pipe.ring()

    def close(self) -> None:
        self._store.leave(self._presence.owner, self._pipe)
        self._pipe.close()
