"""What a worker remembers from one claim to the next, and what becomes of a claim that is not run.

Called by ``intake``, on its thread. ``admission`` decides about each claim by itself; here is what
was revoked, what rested, and how often tasks may run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from umbel.clock import Clock
from umbel.errors import WireError
from umbel.model.delivery import Delivery, Receipt, Settlement
from umbel.model.revocation import Revocation
from umbel.wire.envelope import Peek
from umbel.worker.admission import Drop, Rest, Run, SetAside
from umbel.worker.endings import Endings
from umbel.worker.intake_log import log_decision
from umbel.worker.notices import Noticed, Notices
from umbel.worker.plan import WorkerPlan
from umbel.worker.rates import Rates
from umbel.worker.resting import Rested
from umbel.worker.revoked import RevokedIds, RevokedStamps

logger = logging.getLogger("umbel.worker")


class Admitted(msgspec.Struct, frozen=True):
    """A claim that may run now. ``acked``: acknowledged already (early)."""

    delivery: Delivery
    peek: Peek
    run: Run
    acked: bool


class Taken(msgspec.Struct, frozen=True):
    """What the main thread takes from here in one go."""

    admitted: tuple[Admitted, ...]
    escaped: tuple[Receipt, ...]
    """Claims that turned out to be no longer ours."""
    revoked: tuple[Revocation, ...]
    notices: tuple[Noticed, ...] = ()
    """What signals are to tell of what is never run."""


class Reception:
    """One intake's. Its thread, except ``rates`` and ``revoked.latest``."""

    def __init__(
        self,
        plan: WorkerPlan,
        clock: Clock,
        notices: Notices,
        lock: threading.Lock,
        *,
        step: float,
    ) -> None:
        """``lock``: held around every use of ``notices``. ``step``: as ``Rates``."""
        self._plan = plan
        self._clock = clock
        self._notices = notices
        self._lock = lock
        self._endings = Endings(plan)
        self.revoked = RevokedIds()
        self.stamps = RevokedStamps()
        self.rested = Rested()
        limited = {name: each.rate_limit for name, each in plan.tasks.items() if each.rate_limit}
        self.rates = Rates(limited, step=step)
        """How often tasks may run here. Any thread."""
        self.on_refused: Callable[[Peek, Drop | SetAside], None] | None = None
        """Told of what is never run."""

    def hear_revoked(self, news: Sequence[Revocation]) -> None:
        """Note what must not run: ids and stamps."""
        self.revoked.add(one.task_id for one in news if not one.stamped)
        self.stamps.add(one.task_id for one in news if one.stamped)

    def rated(self, task: str, run: Run, now: datetime) -> Run | Rest:
        """Let it run, or have it rest until its turn."""
        wait = self.rates.wait(task, self._clock.monotonic())
        if not wait:
            return run
        return Rest(now + timedelta(seconds=wait), counted=False, why="rate limit of this worker")

    def unreadable(self, delivery: Delivery, error: Exception) -> Settlement:
        """Say that it cannot be read; return what becomes of it."""
        logger.error(
            "A message in queue %s cannot be read and is set aside: %s",
            delivery.queue,
            error,
            exc_info=None if isinstance(error, WireError) else error,
        )
        with self._lock:
            self._notices.unreadable(delivery, error)
        return self._endings.undecodable(delivery, error)

    def declined(
        self, delivery: Delivery, peek: Peek, decision: Rest | Drop | SetAside, now: datetime
    ) -> Settlement:
        """Remember, and say, why it does not run now; return what becomes of it."""
        log_decision(peek, decision)
        if not isinstance(decision, Rest):
            if self.on_refused is not None:
                self.on_refused(peek, decision)
            with self._lock:
                self._notices.refused(delivery, decision.error)
        elif decision.until == peek.eta:
            self.rested.note(peek.id, decision.until)
        return self._endings.decided(delivery, peek, decision, now)
