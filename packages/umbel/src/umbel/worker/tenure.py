"""What a worker holds in the store: its consumer, its incarnation, its claims and their leases.

Called by ``intake``, on its thread; nothing here waits for anything but the store. A consumer keeps
its queues for life: when a worker is told to take from others, a new one of an incarnation of its
own claims from then on, and the one before it stays for what it holds (``retiring``).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence

import msgspec

from umbel.errors import OperationalError
from umbel.model.delivery import Ack, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Queue
from umbel.ports import Broker, Consumer, ResultBackend
from umbel.worker.plan import WorkerPlan
from umbel.worker.progress import Stall
from umbel.worker.retiring import Retiring

logger = logging.getLogger("umbel.worker")


class Tenure:
    """One worker's. The intake thread only, except ``consumer``, which any may ``wake``."""

    def __init__(
        self,
        broker: Broker,
        backend: ResultBackend | None,
        plan: WorkerPlan,
        presence: Presence,
    ) -> None:
        self._broker = broker
        self._backend = backend
        self._plan = plan
        self._presence = presence
        self.consumer: Consumer | None = None
        self.held: set[Receipt] = set()
        """What the consumer holds; what retired ones hold is not among it."""
        self.retiring = Retiring()
        self.uncertain: set[Receipt] = set()
        """Settled when the connection broke: nobody knows."""

    def open(self, queues: Sequence[Queue], *, purge: bool) -> None:
        """Make the queues exist and open the consumer. Raises OperationalError."""
        self._broker.declare(queues)
        if purge:
            for queue in queues:
                count = self._broker.purge(queue.name)
                logger.warning("Purged %d messages from queue %s", count, queue.name)
        self.consumer = self._broker.open_consumer(
            queues, presence=self._presence, lease=self._plan.lease, results=self._backend
        )

    def change(self, queues: Sequence[Queue]) -> None:
        """Claim from these from now on. Raises OperationalError; nothing has changed then."""
        old, presence, held = self.consumer, self._presence, self.held
        assert old is not None
        names = tuple(queue.name for queue in queues)
        self._presence = msgspec.structs.replace(presence, owner=uuid.uuid4().hex, queues=names)
        try:
            self.open(queues, purge=False)
        except BaseException:
            self._presence = presence
            raise
        self.retiring.add(old, presence, held)
        self.held = set()
        logger.info("Takes from %s now", ", ".join(names))

    def holds_any(self) -> bool:
        """Whether a claim is left."""
        return bool(self.held) or self.retiring.holding()

    def renew(self, active: int, processed: Mapping[str, int]) -> set[Receipt]:
        """Renew the leases; return the claims that turned out to be no longer ours."""
        assert self.consumer is not None
        presence = msgspec.structs.replace(self._presence, active=active, processed=dict(processed))
        lost = set(self.consumer.extend(tuple(self.held), presence))
        if self.retiring.retired:
            lost |= self.retiring.renew()
        return self.forget(lost)

    def forget(self, lost: set[Receipt]) -> set[Receipt]:
        """These are not ours any more; return those of which that is news."""
        news = lost - self.uncertain
        self.held -= news
        if self.retiring.retired:
            self.retiring.drop(news)
        return news

    def acknowledge(self, receipts: Sequence[Receipt]) -> set[Receipt]:
        """Acknowledge these before they run; return those that were not ours any more."""
        assert self.consumer is not None
        self.held.difference_update(receipts)
        try:
            return set(self.consumer.exchange([Settlement(r, Ack()) for r in receipts], 0).lost)
        except OperationalError:
            logger.warning(
                "%d tasks with early acknowledgement were claimed while the connection broke;"
                " they may be lost",
                len(receipts),
            )
            raise

    def stalled(self, stall: Stall, waiting: int, names: Sequence[str]) -> None:
        """Where nothing could be claimed for long: say so; let a connection go that may be deaf."""
        assert self.consumer is not None
        words = waiting, ", ".join(names), self._plan.stall_timeout
        if stall is Stall.CONNECT_ANEW:
            logger.error(
                "%d messages wait in %s, slots are free, and nothing could be claimed for %g s:"
                " connecting anew",
                *words,
            )
            self.consumer.reconnect()
        elif stall is Stall.GIVE_UP:
            logger.critical(
                "The worker ends: %d messages wait in %s, slots are free, and nothing could be"
                " claimed for twice %g s (worker_stall_timeout), over a new connection either."
                " Your service manager should start it again; `umbel doctor` looks at the broker",
                *words,
            )

    def close(self) -> None:
        """Return every claim to its queue."""
        assert self.consumer is not None
        self.retiring.close()
        self.consumer.close()
        self.held.clear()
