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
    """A heap of what will be due. One thread.

    What has ended stays in the heap until its time, or until most of the heap is of that kind: a
    limit of an hour on a thousand tasks a second would be millions of them.
    """

    def __init__(self) -> None:
        self._heap: list[Limit] = []
        self._running: set[int] = set()

    def __len__(self) -> int:
        return len(self._heap)

    def began(self, entry_id: int, now: float, soft: float | None, hard: float | None) -> None:
        """A task with these limits (seconds) began now."""
        self._running.add(entry_id)
        if soft is not None:
            heapq.heappush(self._heap, Limit(now + soft, entry_id, hard=False))
        if hard is not None:
            heapq.heappush(self._heap, Limit(now + hard, entry_id, hard=True))
        if len(self._heap) > 4 * len(self._running) + 64:
            self._heap = [limit for limit in self._heap if limit.entry_id in self._running]
            heapq.heapify(self._heap)

    def ended(self, entry_id: int) -> None:
        """It ended, or was given back."""
        self._running.discard(entry_id)

    def due(self, now: float) -> list[Limit]:
        """Take out and return every limit that has passed of what still runs."""
        passed = []
        while self._heap and self._heap[0].at <= now:
            limit = heapq.heappop(self._heap)
            if limit.entry_id in self._running:
                passed.append(limit)
        return passed

    def next_at(self) -> float | None:
        """When to look again, or None."""
        return self._heap[0].at if self._heap else None


def sooner(seconds: float | None, other: float) -> float:
    """Return the shorter of two times to wait; None is for ever."""
    return other if seconds is None else min(seconds, other)
