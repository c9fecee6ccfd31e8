"""The events of one process, made and kept until somebody sends them. No I/O.

A worker's ``Observer`` feeds it and ``worker.remote`` sends what is kept; ``app.events`` uses it
for what programs tell by themselves. An event is a plain mapping with Celery's fields.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from umbel.clock import LogicalClock
from umbel.monitoring.task_events import TaskEvent

Event: TypeAlias = dict[str, Any]
Kept: TypeAlias = Event | TaskEvent

MOST_KEPT = 20_000
"""Events kept while nobody can send them; the oldest go."""


class Emitter:
    """Makes events and keeps them. Any thread may add; one takes and puts back."""

    def __init__(
        self, hostname: str, pid: int, clock: LogicalClock, now: Callable[[], float]
    ) -> None:
        """``now``: Unix time in seconds."""
        self.hostname = hostname
        self.pid = pid
        self._clock = clock
        self._now = now
        self._kept: deque[Kept] = deque()
        self.dropped = 0
        """How many were lost because too many waited."""

    def make(self, event_type: str, fields: Mapping[str, Any], at: float | None = None) -> Event:
        """Return an event that happens now, or did at ``at``."""
        return {
            "hostname": self.hostname,
            "pid": self.pid,
            "clock": self._clock.forward(),
            "timestamp": self._now() if at is None else at,
            "type": event_type,
            **fields,
        }

    def keep(self, event: Kept) -> None:
        """Keep an event, until it is taken; its clock is read then."""
        # Race: two threads may both find room for one: there may be one more than the most.
        if len(self._kept) >= MOST_KEPT:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append(event)

    def add(self, event_type: str, fields: Mapping[str, Any], at: float | None = None) -> None:
        """Make an event and keep it."""
        self.keep(self.make(event_type, fields, at))

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, most: int) -> list[Kept]:
        """Take out the oldest, up to ``most`` of them, numbered in their order."""
        kept, forward = self._kept, self._clock.forward
        taken = [kept.popleft() for _ in range(min(most, len(kept)))]
        for event in taken:
            if isinstance(event, TaskEvent):
                event.clock = forward()
            else:
                event["clock"] = forward()
        return taken

    def put_back(self, events: Sequence[Kept]) -> None:
        """Keep these again, before all others: they could not be sent."""
        room = max(0, MOST_KEPT - len(self._kept))
        self.dropped += max(0, len(events) - room)
        self._kept.extendleft(reversed(events[max(0, len(events) - room) :]))
