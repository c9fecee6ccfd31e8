"""A broker whose connection breaks on cue, around any other broker. For tests.

``before``: the call fails and nothing happened at the store. ``after``: it happened, and the answer
is lost on the way. Those are the two things a network can do to a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NoReturn

from umbel.errors import BrokerUnavailable
from umbel.model.delivery import Delivery, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Queue, QueueStats
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Consumer, Exchange, Publisher, ResultBackend, Shelves

Moment = Literal["before", "after"]


class FaultyBroker(Broker):
    """Passes everything on, except the calls that ``fail`` was told about. Any thread."""

    def __init__(self, inner: Broker) -> None:
        self._inner = inner
        self.capabilities = inner.capabilities
        self._faults: Counter[tuple[str, Moment]] = Counter()
        self.failed: Counter[str] = Counter()
        """How many calls of each name have failed so far."""
        self._deaf_for = 0
        self.connected_anew = 0
        """How often a consumer was told to let go of its connection."""

    def deliver_nothing(self, connections: int = 1) -> None:
        """Claim nothing any more, and fail nothing, until so many connections were made anew."""
        self._deaf_for = connections

    @property
    def is_deaf(self) -> bool:
        """Whether nothing is delivered now."""
        return self._deaf_for > 0

    def note_reconnect(self) -> None:
        """Count one connection made anew."""
        self.connected_anew += 1
        self._deaf_for = max(0, self._deaf_for - 1)

    def fail(self, call: str, moment: Moment = "before", times: int = 1) -> None:
        """Make the next calls of this name (``exchange``, ``receive``, ``extend``, ...) fail."""
        self._faults[call, moment] += times

    def trip(self, call: str, moment: Moment) -> None:
        """Raise BrokerUnavailable if this call was to fail here."""
        if self._faults[call, moment] > 0:
            self._faults[call, moment] -= 1
            self.failed[call] += 1
            _broken(call, moment)

    def declare(self, queues: Sequence[Queue]) -> None:
        self.trip("declare", "before")
        self._inner.declare(queues)

    def open_publisher(self) -> Publisher:
        return self._inner.open_publisher()

    def open_consumer(
        self,
        queues: Sequence[Queue],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None = None,
    ) -> Consumer:
        self.trip("open_consumer", "before")
        inner = self._inner.open_consumer(queues, presence=presence, lease=lease, results=results)
        return FaultyConsumer(inner, self)

    def shelves(self, results: ResultBackend | None = None) -> Shelves:
        return self._inner.shelves(results)

    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        return self._inner.stats(queues)

    def purge(self, queue: str) -> int:
        return self._inner.purge(queue)

    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        self._inner.revoke(revocations, keep=keep)

    def presences(self) -> Sequence[Presence]:
        return self._inner.presences()

    def ping(self) -> str:
        return self._inner.ping()

    def close(self) -> None:
        self._inner.close()


class FaultyConsumer(Consumer):
    """The consumer of a ``FaultyBroker``."""

    def __init__(self, inner: Consumer, faults: FaultyBroker) -> None:
        self._inner = inner
        self._faults = faults

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        self._faults.trip("receive", "before")
        limit = 0 if self._faults.is_deaf else limit
        deliveries = self._inner.receive(limit, timeout)
        if deliveries:
            self._faults.trip("receive", "after")
        return deliveries

    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        self._faults.trip("exchange", "before")
        limit = 0 if self._faults.is_deaf else limit
        exchange = self._inner.exchange(settlements, limit)
        self._faults.trip("exchange", "after")
        return exchange

    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        self._faults.trip("extend", "before")
        return self._inner.extend(receipts, presence)

    def revocations(self) -> Sequence[Revocation]:
        return self._inner.revocations()

    def reconnect(self) -> None:
        self._faults.note_reconnect()
        self._inner.reconnect()

    def wake(self) -> None:
        self._inner.wake()

    def close(self) -> None:
        self._inner.close()


def _broken(call: str, moment: Moment) -> NoReturn:
    what = "nothing was sent" if moment == "before" else "the answer was lost"
    raise BrokerUnavailable(f"The connection broke on cue at {call}: {what}.")
