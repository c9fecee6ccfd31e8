"""The events of one process, made and kept until somebody sends them. No I/O.

A worker's ``Observer`` feeds it and ``worker.remote`` sends what is kept; ``app.events`` uses it
for what programs tell by themselves. An event is a plain mapping with Celery's fields.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from umbel.clock import LogicalClock

Event: TypeAlias = dict[str, Any]

MOST_KEPT = 20_000
"""Events kept while nobody can send them; the oldest go."""


class Emitter:
    """Makes events and keeps them. Any thread may add; one takes."""

    def __init__(
        self, hostname: str, pid: int, clock: LogicalClock, now: Callable[[], float]
    ) -> None:
        """``now``: Unix time in seconds."""
        self.hostname = hostname
        self._pid = pid
        self._clock = clock
        self._now = now
        self._kept: deque[Event] = deque(maxlen=MOST_KEPT)
        self._lock = threading.Lock()
        self.dropped = 0
        """How many were lost because too many waited."""

    def make(self, event_type: str, fields: Mapping[str, Any], at: float | None = None) -> Event:
        """Return an event that happens now, or did at ``at``."""
        return {
            "hostname": self.hostname,
            "pid": self._pid,
            "clock": self._clock.forward(),
            "timestamp": self._now() if at is None else at,
            "type": event_type,
            **fields,
        }

    def add(self, event_type: str, fields: Mapping[str, Any], at: float | None = None) -> None:
        """Make an event and keep it."""
        event = self.make(event_type, fields, at)
        with self._lock:
            if len(self._kept) == MOST_KEPT:
                self.dropped += 1
            self._kept.append(event)

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, most: int) -> list[Event]:
        """Take out the oldest, up to ``most`` of them."""
        with self._lock:
            return [self._kept.popleft() for _ in range(min(most, len(self._kept)))]

    def put_back(self, events: list[Event]) -> None:
        """Keep these again, before all others: they could not be sent."""
        with self._lock:
            room = MOST_KEPT - len(self._kept)
            self.dropped += max(0, len(events) - room)
            self._kept.extendleft(reversed(events[max(0, len(events) - room) :]))
