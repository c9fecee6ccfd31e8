"""One slot: tasks one after another on the main thread (``prefork``).

The supervisor sends a few assignments ahead where tasks are short. While a task runs nobody reads
the socket; when the supervisor wants something back or stopped, it sends the order and a SIGUSR1,
whose handler looks at the socket between two bytecodes of the task. So no thread, no lock and no
work is spent on the usual case.

While short tasks wait, reports are kept for a moment and sent together (``worker.spool``). Nobody
waits longer for one because of a long task behind it: reports go out before a task that is not
known to be short; and where a task known to be short takes long this time, the supervisor, which
looks at an executor that has not moved for ``RECALL_AFTER``, reads them from the shared memory.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from types import FrameType

from umbel.errors import SoftTimeLimitExceeded, TaskInterrupted
from umbel.model.assignment import (
    Assignment,
    Cancel,
    Interrupt,
    Leaving,
    Order,
    Recall,
    Report,
    Returned,
)
from umbel.worker.channel import Channel
from umbel.worker.execution import Execution, Prepared
from umbel.worker.retirement import Retirement
from umbel.worker.slots.interruption import SAYS_SOFT, cancelled_because
from umbel.worker.slots.own_signal import raise_in_this_process

HOLD = 0.001
"""Seconds a report is kept while more tasks wait."""
SHORT = 0.001
"""Seconds that a short task takes at most; what is kept does not wait for any other."""
CLOSE_LIMIT = 2.0
"""A task with a time limit below this is neither run behind kept reports nor reported late: the
supervisor counts from the report before it, which may reach it ``RECALL_AFTER`` late."""


class SingleSlot:
    """Runs assignments in the order they came."""

    def __init__(self, channel: Channel, execution: Execution, retirement: Retirement) -> None:
        self._channel = channel
        self._execution = execution
        self._retirement = retirement
        self._backlog: deque[Assignment] = deque()
        self._running: Assignment | None = None
        self._in_task = False
        self._stopping = False
        self._asked_to_look = False
        """The supervisor's signal came where nobody may read the socket."""
        self._looking = False
        self._cancelled: Cancel | None = None
        """What is to be done to the running task, the sternest of what was ordered."""
        self._cancellations = execution.cancellations
        self._kept_since = 0.0
        self._short: set[str] = set()
        """Names of the tasks whose last run here was short."""

    def serve(self) -> None:
        """Work until told to stop or time to retire. Raises SupervisorGone."""
        signal.signal(signal.SIGUSR1, self._on_signal)
        while True:
            if self._asked_to_look:
                self._look()
            try:
                assignment = self._backlog.popleft()
            except IndexError:
                if self._stopping:
                    return
                for order in self._channel.hear():
                    self._take(order)
                continue
            self._run(assignment)
            why = self._retirement.after_task()
            if why is not None:
                self._retire(why)
                return

    def _run(self, assignment: Assignment) -> None:
        self._running = assignment
        try:
            prepared = self._execution.prepare(assignment)
            name = "" if prepared.message is None else prepared.message.task
            if prepared.began is not None:
                self._channel.send(prepared.began)
            elif name not in self._short or _limited_closely(assignment):
                self._channel.flush()
            report = self._interruptible(prepared)
        finally:
            self._running = None
            if self._cancellations.reasons:
                self._cancellations.ended(assignment.id)
        if report.seconds < SHORT:
            self._short.add(name)
        else:
            self._short.discard(name)
        self._tell(report, keep=bool(self._backlog) and not _limited_closely(assignment))

    def _tell(self, report: Report, *, keep: bool) -> None:
        channel = self._channel
        if not keep:
            channel.send(report)
            return
        now = time.monotonic()
        if not channel.keeps:
            self._kept_since = now
        channel.keep(report)
        if now - self._kept_since > HOLD:
            channel.flush()

    def _interruptible(self, prepared: Prepared) -> Report:
        try:
            self._in_task = True
            try:
                if self._asked_to_look:  # while the task was being opened
                    self._heed()
                return self._execution.run(prepared)
            finally:
                self._in_task = False
        except TaskInterrupted as limit:
            # It struck beside the body: before it began, or while its end was written down.
            return self._execution.failed(prepared, limit)

    def _retire(self, why: str) -> None:
        """Say so and give back what comes until the supervisor has heard it: none may be lost."""
        self._channel.send(Leaving(why))
        self._give_back()
        while not self._stopping:
            for order in self._channel.hear():
                self._take(order)
            self._give_back()

    def _take(self, order: Order) -> None:
        match order:
            case Assignment():
                self._backlog.append(order)
            case Recall():
                self._cancellations.ending |= order.ending
                self._channel.flush()
                self._give_back()
            case Cancel():
                self._cancel(order)
            case _:
                self._stopping = True
                self._channel.flush()
                self._give_back()

    def _cancel(self, order: Cancel) -> None:
        # The order may come late: only the task that it names is told or interrupted.
        if self._running is not None and self._running.id == order.id:
            self._cancellations.note(order.id, cancelled_because(order))
            sterner = order.how is Interrupt.TERMINATE or self._cancelled is None
            if order.how is not Interrupt.REVOKE and sterner:
                self._cancelled = order
            return
        waiting = next((each for each in self._backlog if each.id == order.id), None)
        if waiting is not None:
            self._backlog.remove(waiting)
            self._channel.send(Returned((order.id,)))

    def _give_back(self) -> None:
        ids = tuple(each.id for each in self._backlog)
        self._backlog.clear()
        if ids:
            self._channel.send(Returned(ids))

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        # Outside of a task the main line reads the socket by itself, and may be in the middle
        # of it: only a task may be interrupted. Nor may a second signal interrupt the first look.
        self._asked_to_look = True
        if self._in_task and not self._looking:
            self._heed()

    def _heed(self) -> None:
        """Look, and raise inside the task, or signal it, if it was cancelled."""
        self._look()
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is None:
            return
        if cancelled.how is Interrupt.SOFT:
            raise SoftTimeLimitExceeded(cancelled.reason)
        if cancelled.reason == SAYS_SOFT:
            raise SoftTimeLimitExceeded("terminated")
        raise_in_this_process(cancelled.reason)

    def _look(self) -> None:
        """Take every order that is there, to the last, before anything is raised."""
        self._looking = True
        try:
            while self._asked_to_look:
                self._asked_to_look = False
                for order in self._channel.look():
                    self._take(order)
        finally:
            self._looking = False


def _limited_closely(assignment: Assignment) -> bool:
    soft, hard = assignment.soft_limit, assignment.hard_limit
    return (soft is not None and soft < CLOSE_LIMIT) or (hard is not None and hard < CLOSE_LIMIT)
