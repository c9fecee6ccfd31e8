"""What ends a task before its time: limits, revocations, a lost lease. Owned by ``supervisor``.

It orders the pool to interrupt and notes in the ledger's entry why; what becomes of the entry the
supervisor decides, when the pool says how the task ended.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping

from umbel.clock import Clock
from umbel.model.assignment import Interrupt
from umbel.model.lifecycle import Step
from umbel.model.revocation import Revocation
from umbel.ports import Pool
from umbel.worker.ledger import Entry, Ledger
from umbel.worker.timelimits import TimeLimits

logger = logging.getLogger("umbel.worker")

TERMINATE_PATIENCE = 5.0
"""Seconds a task that was sent a signal by ``revoke(terminate=True)`` has to end by itself."""

COUNTS_AS_REVOKED: Mapping[str, frozenset[str]] = {
    "terminated": frozenset({"FAILURE", "RETRY", "IGNORED", "REJECTED"}),
    "revoked": frozenset({"RETRY", "IGNORED"}),
    "time limit": frozenset(),
}
"""By what was ordered: the states a run may report that count as REVOKED all the same."""


class Interrupter:
    """The supervisor's main thread only."""

    def __init__(self, pool: Pool, ledger: Ledger, clock: Clock) -> None:
        self._pool = pool
        self._ledger = ledger
        self._clock = clock
        self._limits = TimeLimits()
        self.limited = False
        """Whether any task here ever had a time limit: most workers never look."""

    def began(self, entry: Entry) -> None:
        """The task is running now: its limits count from here."""
        run = entry.run
        if run.soft_limit is None and run.hard_limit is None:
            return
        self.limited = True
        self._limits.began(entry.id, self._clock.monotonic(), run.soft_limit, run.hard_limit)

    def ended(self, entry_id: int) -> None:
        """It ended, or was given back."""
        self._limits.ended(entry_id)

    def next_at(self) -> float | None:
        """When the next limit passes, in monotonic seconds, or None."""
        return self._limits.next_at()

    def look(self) -> None:
        """Interrupt what has passed a limit."""
        for limit in self._limits.due(self._clock.monotonic()):
            entry = self._ledger.get(limit.entry_id)
            if entry is None or entry.step not in (Step.ASSIGNED, Step.RUNNING):
                continue
            if limit.hard:
                if entry.ending != "terminated":
                    entry.ending = "time limit"
                self._pool.interrupt(entry.id, Interrupt.HARD, entry.ending)
                continue
            logger.warning(
                "Soft time limit (%ss) exceeded for %s[%s]",
                entry.run.soft_limit,
                entry.peek.task,
                entry.peek.id,
            )
            self._pool.interrupt(entry.id, Interrupt.SOFT, f"{entry.run.soft_limit:g} s")

    def revoke(self, entry: Entry, revocation: Revocation) -> None:
        """An executor has it: take it back if it has not begun; end it, or let it know."""
        name = revocation.signal
        if not revocation.terminate:
            if entry.ending is None:
                entry.ending = "revoked"
                self._pool.interrupt(entry.id, Interrupt.REVOKE, "revoked")
            return
        logger.info("Terminating task %s[%s] (%s)", entry.peek.task, entry.peek.id, name)
        entry.ending = "terminated"
        entry.signum = int(getattr(signal, name, signal.SIGTERM))
        if name == "SIGKILL":
            self._pool.interrupt(entry.id, Interrupt.HARD, "terminated")
            return
        self._pool.interrupt(entry.id, Interrupt.TERMINATE, name)
        self.limited = True
        self._limits.began(entry.id, self._clock.monotonic(), None, TERMINATE_PATIENCE)

    def escaped(self, entry: Entry) -> None:
        """Its claim is no longer ours: if it has not begun it need not; else it may look."""
        self._pool.interrupt(entry.id, Interrupt.REVOKE, "lease lost")
