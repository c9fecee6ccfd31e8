"""How often something may begin: turns one interval apart. Pure.

Used by workers for ``rate_limit`` and by the stores for limits that all workers share. Redis has
the same arithmetic in ``gates.lua``.
"""

from __future__ import annotations

import math

import msgspec

EARLY = 0.001
"""Seconds by which something may come early: stores count whole milliseconds."""
SLACK = 1.0
"""Seconds by which something may come late to its turn, one interval at most, and the turns after
it stay where they are: else the rate would fall by as much as messages take to come."""
LONGEST_REST = 300.0
"""Seconds after which what rests for its turn is looked at again, should the rate have been raised
meanwhile. So much is claimed and put back once in this time, however much rests."""


class Pace(msgspec.Struct):
    """``free_at``: when the next may begin; ``last_turn``: the latest turn given to one that waits.
    Both in seconds of the clock that the caller reads."""

    free_at: float = -math.inf
    last_turn: float = -math.inf

    def wait(self, interval: float, now: float, *, step: float = 0.0) -> float:
        """Let one begin, and return 0; or give it a turn, and return in how many seconds to ask.

        ``step``: seconds to whose multiple rests are rounded up: what comes together then is let
        through together.
        """
        if now >= self.free_at - EARLY:
            slack = max(step, min(SLACK, interval))
            late = now - self.free_at
            self.free_at = (self.free_at if late <= slack else now) + interval
            return 0.0
        self.last_turn = max(self.last_turn + interval, self.free_at)
        return min(self.last_turn - now, LONGEST_REST)
