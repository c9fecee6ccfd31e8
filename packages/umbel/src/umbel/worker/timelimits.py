"""Which running tasks are over a limit, and when the next one will be. Pure.

The supervisor asks; a soft limit is raised inside the task by its executor, a hard one ends the
executor. Time counts from the moment the task began, not from when it was handed over.
"""

from __future__ import annotations

import heapq

import msgspec


class Limit(msgspec.Struct, frozen=True, order=True):
    """One limit of one running task; ``at`` in monotonic seconds."""

    at: float
    entry_id: int
    hard: bool


class TimeLimits:
    """A heap of what will be due. One thread."""

    def __init__(self) -> None:
        self._heap: list[Limit] = []

    def began(self, entry_id: int, now: float, soft: float | None, hard: float | None) -> None:
        """A task with these limits (seconds) began now."""
        if soft is not None:
            heapq.heappush(self._heap, Limit(now + soft, entry_id, hard=False))
        if hard is not None:
            heapq.heappush(self._heap, Limit(now + hard, entry_id, hard=True))

    def due(self, now: float) -> list[Limit]:
        """Take out and return every limit that has passed; the tasks may have ended since."""
        passed = []
        while self._heap and self._heap[0].at <= now:
            passed.append(heapq.heappop(self._heap))
        return passed

    def next_at(self) -> float | None:
        """When to look again, or None."""
        return self._heap[0].at if self._heap else None
