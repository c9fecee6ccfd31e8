"""Time as a collaborator, so that no test ever sleeps."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime


class Clock(ABC):
    """Where Umbel reads the time. Persisted moments use ``now``; durations use ``monotonic``."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds that never go back. Only differences mean anything."""


class SystemClock(Clock):
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class LogicalClock:
    """Lamport's clock: a number that grows with everything sent and heard. Any thread.

    Monitors order the events of several machines by it, whatever their clocks say.
    """

    def __init__(self) -> None:
        self._value = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """The number now."""
        return self._value

    def forward(self) -> int:
        """Count one more and return the number."""
        with self._lock:
            self._value += 1
            return self._value

    def adjust(self, other: object) -> None:
        """Hear of another's number: ours becomes greater. What is no number is ignored."""
        if isinstance(other, int):
            with self._lock:
                self._value = max(self._value, other) + 1
