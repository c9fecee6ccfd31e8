"""Which runs of this process should come to an end: what ``task.cancelled()`` looks at.

The slots of an executor write it, tasks read it. Nothing here interrupts anything.
"""

from __future__ import annotations

from collections.abc import Callable

MOST = 10_000
"""Reasons kept at once. More than run at once: an order may come when its run has just ended."""


class Cancellations:
    """The cancelled runs of one executor, by assignment id. Any thread may read and write."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}
        """Usually empty: look here before you call ``ended`` for every run."""
        self.ending = False
        """The worker is shutting down."""
        self.look: Callable[[], None] | None = None
        """Reads the orders that have come, where a task that never waits would keep them unread."""

    def note(self, assignment_id: int, reason: str) -> None:
        """Cancel a run. ``ended`` follows, unless it had ended already."""
        if len(self.reasons) >= MOST:
            self.reasons.pop(next(iter(self.reasons)), None)
        self.reasons[assignment_id] = reason

    def ended(self, assignment_id: int) -> None:
        """Forget a run that is over."""
        self.reasons.pop(assignment_id, None)

    def reason(self, assignment_id: int) -> str | None:
        """Return why this run should end, or None."""
        if self.look is not None:
            self.look()
        reason = self.reasons.get(assignment_id)
        if reason is None and self.ending:
            return "the worker is shutting down"
        return reason

    def worker_ends(self) -> bool:
        """Return whether the worker is shutting down."""
        if self.look is not None:
            self.look()
        return self.ending
