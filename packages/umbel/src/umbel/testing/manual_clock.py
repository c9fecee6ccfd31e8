"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from umbel.clock import Clock

START = datetime(2030, 1, 1, tzinfo=UTC)


class ManualClock(Clock):
    """Time as the test says. ``advance`` moves both readings; ``jump`` only the calendar."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards ({seconds} s); use jump() for that")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the calendar forward or back, as an administrator or NTP would."""
        self._now += timedelta(seconds=seconds)
