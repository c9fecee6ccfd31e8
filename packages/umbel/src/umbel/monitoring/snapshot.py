"""Cameras: look at the state of the fleet now and then, and do something with it.

A camera of one's own is a subclass of ``Polaroid`` with ``on_shutter``. ``app.events`` and
``umbel events --camera`` let it run.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from umbel.monitoring.cluster_state import State

logger = logging.getLogger("umbel.monitoring")


class Polaroid:
    """Takes a picture every ``freq`` seconds, at most ``maxrate`` a second. One thread."""

    clear_after = False
    """Forget what has ended after each picture."""
    cleanup_freq = 3600.0

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: float | None = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,  # noqa: ARG002 - Celery's
        app: Any = None,
    ) -> None:
        self.state = state
        self.app = app
        self.freq = freq if maxrate is None or maxrate <= 0 else max(freq, 1.0 / maxrate)
        self.cleanup_freq = cleanup_freq or self.cleanup_freq
        now = time.monotonic()
        self._next_picture = now + self.freq
        self._next_cleanup = now + self.cleanup_freq

    def on_shutter(self, state: State) -> Any:
        """Do something with the state; nothing changes in it meanwhile."""

    def on_cleanup(self) -> Any:
        """Called every ``cleanup_freq`` seconds."""

    def capture(self) -> None:
        """Take a picture now."""
        self.state.freeze_while(self.on_shutter, self.state, clear_after=self.clear_after)

    shutter = capture

    def cleanup(self) -> None:
        """Clean up now."""
        self.on_cleanup()

    def run_due(self, now: float) -> float:
        """Do what is due; return the seconds until something is. ``now``: monotonic seconds.

        What the camera raises is logged: the next picture may succeed.
        """
        for due, act in (("_next_picture", self.capture), ("_next_cleanup", self.cleanup)):
            if now < getattr(self, due):
                continue
            every = self.freq if due == "_next_picture" else self.cleanup_freq
            setattr(self, due, now + every)
            try:
                act()
            except Exception:
                logger.exception("The camera %s failed", type(self).__name__)
        return max(0.0, min(self._next_picture, self._next_cleanup) - now)
