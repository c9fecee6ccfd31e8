"""Consumers that claim no more and still hold what runs: after a change of the worker's queues.

Called by ``intake``, on its thread. A consumer keeps its queues for life. When a worker is told to
take from others, a new one, of an incarnation of its own, claims from then on; the one before it
settles and renews what it holds, and is closed when that has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from umbel.model.delivery import Receipt, Settlement
from umbel.model.presence import Presence
from umbel.ports import Consumer


class Retired(msgspec.Struct):
    """One of them, and the receipts of what it holds."""

    consumer: Consumer
    presence: Presence
    held: set[Receipt]


class Retiring:
    """The consumers that leave. One thread."""

    def __init__(self) -> None:
        self.retired: list[Retired] = []

    def add(self, consumer: Consumer, presence: Presence, held: set[Receipt]) -> None:
        """Let this one claim no more."""
        gone = msgspec.structs.replace(presence, queues=(), active=len(held))
        self.retired.append(Retired(consumer, gone, held))

    def holding(self) -> bool:
        """Whether a claim is left."""
        return any(each.held for each in self.retired)

    def settle(self, settlements: Sequence[Settlement]) -> tuple[list[Settlement], set[Receipt]]:
        """Settle what is theirs; return what is not, and the receipts that were refused.

        Raises OperationalError; what was settled before that is refused when it comes again.
        """
        lost: set[Receipt] = set()
        rest = list(settlements)
        for each in self.retired:
            theirs = [one for one in rest if one.receipt in each.held]
            if not theirs:
                continue
            rest = [one for one in rest if one.receipt not in each.held]
            lost.update(each.consumer.exchange(theirs, 0).lost)
        return rest, lost

    def drop(self, receipts: set[Receipt]) -> None:
        """These claims are no more."""
        for each in self.retired:
            each.held -= receipts

    def renew(self) -> set[Receipt]:
        """Renew the leases; close who holds nothing. Return the claims that are no longer ours."""
        lost: set[Receipt] = set()
        for each in tuple(self.retired):
            if not each.held:
                each.consumer.close()
                self.retired.remove(each)
                continue
            each.presence = msgspec.structs.replace(each.presence, active=len(each.held))
            lost.update(each.consumer.extend(tuple(each.held), each.presence))
        return lost

    def close(self) -> None:
        """Return what is left to its queues."""
        while self.retired:
            self.retired[-1].consumer.close()
            self.retired.pop()
