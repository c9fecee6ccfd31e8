"""Ends that the app's signals tell, on their way to an executor: user code runs nowhere else.

``task_revoked``, ``task_unknown`` and ``task_rejected`` are of messages that no executor has, or
has any more. Where somebody listens (``WorkerPlan.listened``), one is handed the message with a
notice in the place of a run. Nothing waits for it and nothing is settled by it: a worker that ends,
or an executor that dies, tells it no more.
"""

from __future__ import annotations

from collections import deque

import msgspec

from umbel.errors import NotRegistered, TaskRevokedError
from umbel.model.assignment import Assignment, Notice
from umbel.model.delivery import Delivery
from umbel.worker.plan import WorkerPlan

MOST = 10_000
"""Notices that wait at most; the oldest goes first."""


class Noticed(msgspec.Struct, frozen=True):
    """A notice and the message that it is about."""

    delivery: Delivery
    notice: Notice


class Notices:
    """What waits to be told. Each instance belongs to one thread."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._listened = plan.listened
        self.waiting: deque[Noticed] = deque(maxlen=MOST)
        self._number = 0

    def refused(self, delivery: Delivery, error: BaseException) -> None:
        """Note what was claimed and will not run."""
        if not self._listened:
            return
        if isinstance(error, TaskRevokedError):
            expired = error.args[:1] == ("expired",)
            self._note(delivery, Notice("task_revoked", expired=expired, why=str(error)))
        elif isinstance(error, NotRegistered):
            self._note(delivery, Notice("task_unknown", why=str(error)))

    def unreadable(self, delivery: Delivery, error: BaseException) -> None:
        """Note a message that has no envelope to be read."""
        self._note(delivery, Notice("task_rejected", why=str(error)))

    def revoked(self, delivery: Delivery, signum: int | None) -> None:
        """Note what was revoked here; ``signum``: it was terminated, by this signal."""
        terminated = signum is not None
        why = "terminated" if terminated else "revoked"
        self._note(delivery, Notice("task_revoked", terminated, signum, why=why))

    def _note(self, delivery: Delivery, notice: Notice) -> None:
        if notice.signal in self._listened:
            self.waiting.append(Noticed(delivery, notice))

    def assignments(self, room: int) -> list[Assignment]:
        """Return as many as there is room for, as assignments that are in no ledger."""
        found: list[Assignment] = []
        while self.waiting and len(found) < room:
            one = self.waiting.popleft()
            self._number -= 1
            delivery = one.delivery
            found.append(
                Assignment(
                    self._number,
                    delivery.raw,
                    delivery.queue,
                    delivery.count,
                    delivery.redelivered,
                    None,
                    None,
                    False,
                    one.notice,
                )
            )
        return found
