"""How far a shutdown has come. Pure: signals and seconds in, the next phase out."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class Phase(IntEnum):
    """The phases, in order; a worker never goes back."""

    WORKING = 0
    WARM = 1  # claims nothing, returns what was not begun, lets tasks finish
    COLD = 2  # ends the executors; what they ran goes back to its queue
    OVER = 3


class Shutdown(msgspec.Struct):
    """The phase, and since when. ``timeout``: seconds a warm shutdown may last; None for ever.

    ``soft``: seconds that running tasks still have when a cold shutdown is asked for, once; asked
    again it is cold at once (Celery's soft shutdown).
    """

    timeout: float | None
    soft: float = 0.0
    phase: Phase = Phase.WORKING
    began: float = 0.0
    went_cold: float | None = None

    def ask(self, *, cold: bool, now: float, at_once: bool = False) -> bool:
        """Ask to stop; asked twice means at once. True when the phase changed.

        ``at_once``: without the time of a soft shutdown.
        """
        wanted = Phase.COLD if cold or self.phase is not Phase.WORKING else Phase.WARM
        if wanted is Phase.COLD and self.soft > 0 and not at_once and self.phase < Phase.COLD:
            self.timeout, self.soft, self.began = self.soft, 0.0, now
            changed, self.phase = self.phase is not Phase.WARM, Phase.WARM
            return changed
        if wanted <= self.phase:
            return False
        if self.phase is Phase.WORKING:
            self.began = now
        self.phase = wanted
        if wanted is Phase.COLD:
            self.went_cold = now
        return True

    def expired(self, now: float) -> bool:
        """True when a warm shutdown has lasted long enough."""
        return (
            self.phase is Phase.WARM
            and self.timeout is not None
            and now - self.began >= self.timeout
        )

    def cold_for(self, now: float) -> float:
        """Seconds since the shutdown turned cold; 0 before."""
        return 0.0 if self.went_cold is None else now - self.went_cold

    def left(self, now: float) -> float | None:
        """Seconds until a warm shutdown turns cold; None when it never does."""
        if self.phase is not Phase.WARM or self.timeout is None:
            return None
        return max(0.0, self.timeout - (now - self.began))
