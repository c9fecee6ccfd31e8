"""Does this worker get on? Watchdogs: over the store that delivers nothing, over its threads.

``Deliveries`` belongs to ``intake``: messages wait, slots are free, and nothing is claimed. No
healthy store and consumer stay like that for long, whoever is at fault. ``Silence`` belongs to
``supervisor``: the intake thread itself does not come back from a call. ``Stillness`` belongs to
``health``, which asks as often as somebody outside asks it. No I/O; all add up time by
looks, so that a worker which was frozen (SIGSTOP, a laptop's lid) is not taken for one that hangs.
"""

from __future__ import annotations

import logging
import math
from enum import Enum, auto

logger = logging.getLogger("umbel.worker")


class Stall(Enum):
    """What is to be done about it."""

    NONE = auto()
    CONNECT_ANEW = auto()
    GIVE_UP = auto()


class Deliveries:
    """Messages that wait although slots are free. ``timeout`` in seconds; None: never minded."""

    def __init__(self, timeout: float | None, renewal: float) -> None:
        """``renewal``: seconds between the looks that an idle intake takes anyway."""
        self._timeout = timeout
        self._every = max(renewal, timeout / 4) if timeout is not None else 0.0
        self._last = -1.0
        self._stalled = 0.0
        self._waited = False
        self._tried = False

    def moving(self) -> None:
        """Something was claimed, or there was no free slot: all is well."""
        if self._last >= 0:
            self._last = -1.0
            self._stalled = 0.0
            self._waited = self._tried = False

    def is_due(self, now: float) -> bool:
        """Nothing was claimed for free slots; is it time to look what waits?"""
        if self._timeout is None:
            return False
        if self._last < 0:
            self._last = now
        return now - self._last >= self._every

    def looked(self, now: float, waiting: int) -> Stall:
        """Take down how many messages wait to be claimed, and say what to do about it."""
        assert self._timeout is not None
        since, self._last = min(now - self._last, 2 * self._every), now
        if not waiting:
            self._stalled, self._waited, self._tried = 0.0, False, False
            return Stall.NONE
        # What was not seen waiting at the look before may have come a moment ago.
        self._stalled += since if self._waited else 0.0
        self._waited = True
        if self._stalled < self._timeout:
            return Stall.NONE
        self._stalled = 0.0
        if self._tried:
            return Stall.GIVE_UP
        self._tried = True
        return Stall.CONNECT_ANEW


class Silence:
    """The intake thread counts its steps; this looks at the count from another thread."""

    def __init__(self, timeout: float | None, every: float) -> None:
        """``timeout``: half the seconds without a step that are too long; looks are ``every`` s.

        Half: the calls of one step end by themselves, after some seconds each.
        """
        self._timeout = None if timeout is None else 2 * timeout
        self._every = every
        self._count = -1
        self._last = 0.0
        self._silent = 0.0
        self.look_at = 0.0 if timeout is not None else math.inf
        """When to look next. Read at every step of the supervisor, so it is no function."""

    def too_long(self, now: float, count: int) -> bool:
        """Take down its count of steps; True once it has not moved for the timeout."""
        since, self._last = min(now - self._last, 2 * self._every), now
        self.look_at = now + self._every
        if count != self._count:
            self._count, self._silent = count, 0.0
            return False
        self._silent += since
        if self._timeout is None or self._silent < self._timeout:
            return False
        logger.critical(
            "The worker ends: a call to the broker has not returned for %.0f s", self._silent
        )
        return True


class Stillness:
    """For how long a count has not moved, as far as it was looked at. Any one thread."""

    def __init__(self, longest_gap: float) -> None:
        """``longest_gap``: seconds between two looks that count at most."""
        self._gap = longest_gap
        self._count = -1
        self._last = 0.0
        self._still = 0.0

    def look(self, now: float, count: int) -> float:
        """Take down the count; return for how many seconds it has not moved."""
        since, self._last = min(now - self._last, self._gap), now
        if count != self._count:
            self._count, self._still = count, 0.0
        else:
            self._still += since
        return self._still
