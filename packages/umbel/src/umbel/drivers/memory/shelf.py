"""One queue in memory: what is ready, in order, and what rests until later. Not thread-safe.

Called by ``store.py`` under its lock.
"""

from __future__ import annotations

import heapq
import itertools

import msgspec


class Held(msgspec.Struct):
    """One message. ``place`` orders equals of one priority; a returned message keeps its own."""

    queue: str
    raw: bytes
    priority: int
    count: int = 0
    place: int = 0


class Shelf:
    """The messages of one queue that nobody has claimed."""

    def __init__(self) -> None:
        self.ready: list[tuple[int, int, Held]] = []
        """Heap of (priority, place, message): lower is more urgent, then older."""
        self.delayed: list[tuple[float, int, Held]] = []
        """Heap of (due as Unix seconds, place, message)."""
        self._places = itertools.count()

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
