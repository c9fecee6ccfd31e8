"""One queue in memory: what is ready, what rests until later, what is set aside. Not thread-safe.

Called by ``store.py`` and ``shelves.py`` under the store's lock.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import msgspec

from umbel.model.delivery import Quarantine


class Held(msgspec.Struct):
    """One message. ``place`` orders equals of one priority; a returned message keeps its own."""

    queue: str
    raw: bytes
    priority: int
    count: int = 0
    place: int = 0
    why: str | None = None
    """Why it rests, where it was put to rest with a reason."""


class Kept(msgspec.Struct, frozen=True):
    """A message set aside: never claimed again by itself. ``at`` is in Unix seconds."""

    number: int
    held: Held
    verdict: Quarantine
    at: float
    worker: str | None


class Shelf:
    """The messages of one queue that nobody has claimed, and those set aside."""

    def __init__(self, places: Iterator[int]) -> None:
        """``places`` gives every number once, to all the queues of a store."""
        self.ready: list[tuple[int, int, Held]] = []
        """Heap of (priority, place, message): lower is more urgent, then older."""
        self.delayed: list[tuple[float, int, Held]] = []
        """Heap of (due as Unix seconds, place, message)."""
        self.aside: dict[int, Kept] = {}
        """What is set aside by number, oldest first."""
        self._places = places

    def add(self, held: Held, *, due: float | None, now: float) -> None:
        """Put the message at the back, or to rest until ``due``."""
        held.place = next(self._places)
        if due is not None and due > now:
            heapq.heappush(self.delayed, (due, held.place, held))
        else:
            self.put_back(held)

    def put_back(self, held: Held) -> None:
        """Put the message where it was: whatever was behind it then is behind it now."""
        heapq.heappush(self.ready, (held.priority, held.place, held))

    def set_aside(self, held: Held, verdict: Quarantine, *, at: float, worker: str | None) -> None:
        """Put the message where nobody claims it."""
        number = next(self._places)
        self.aside[number] = Kept(number, held, verdict, at, worker)

    def promote(self, now: float) -> None:
        """Move what is due to the back of the queue."""
        while self.delayed and self.delayed[0][0] <= now:
            _, _, held = heapq.heappop(self.delayed)
            held.place = next(self._places)
            self.put_back(held)

    def urgency(self) -> int:
        """Return the priority of the next message. The shelf must have one."""
        return self.ready[0][0]

    def take(self) -> Held:
        """Remove and return the next message. The shelf must have one."""
        return heapq.heappop(self.ready)[2]
