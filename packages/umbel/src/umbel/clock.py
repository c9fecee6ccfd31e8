"""Time as a collaborator, so that no test ever sleeps."""

from __future__ import annotations

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
