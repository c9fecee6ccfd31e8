"""One slot: tasks one after another on the main thread (``prefork``).

The supervisor sends a few assignments ahead where tasks are short. While a task runs nobody reads
the socket; when the supervisor wants something back or stopped, it sends the order and a SIGUSR1,
whose handler looks at the socket between two bytecodes of the task. So no thread, no lock and no
work is spent on the usual case.
"""

from __future__ import annotations

import signal
from collections import deque
from types import FrameType

from umbel.errors import SoftTimeLimitExceeded
from umbel.model.assignment import Assignment, Cancel, Leaving, Order, Recall, Returned
from umbel.worker.channel import Channel
from umbel.worker.execution import Execution
from umbel.worker.retirement import Retirement


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

    def serve(self) -> None:
        """Work until told to stop or time to retire. Raises SupervisorGone."""
        signal.signal(signal.SIGUSR1, self._look)
        while True:
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
            if prepared.began is not None:
                self._channel.send(prepared.began)
            self._in_task = True
            try:
                report = self._execution.run(prepared)
            finally:
                self._in_task = False
        finally:
            self._running = None
        self._channel.send(report)

    def _retire(self, why: str) -> None:
        self._channel.send(Leaving(why))
        self._give_back()
        # What the supervisor sent before it read that is given back too; then it closes nothing
        # on us: we end, and it reads the end of the stream after our last word.
        for order in self._channel.look():
            self._take(order)
        self._give_back()

    def _take(self, order: Order) -> None:
        match order:
            case Assignment():
                self._backlog.append(order)
            case Recall():
                self._give_back()
            case Cancel():
                self._cancel(order)
            case _:
                self._stopping = True
                self._give_back()

    def _give_back(self) -> None:
        ids = tuple(each.id for each in self._backlog)
        self._backlog.clear()
        if ids:
            self._channel.send(Returned(ids))

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        # Outside of a task the main line reads the socket by itself, and may be in the middle
        # of it: only a task may be interrupted.
        if self._in_task:
            for order in self._channel.look():
                self._take(order)

    def _cancel(self, order: Cancel) -> None:
        # The order may come late: only the task that it names is interrupted.
        if self._in_task and self._running is not None and self._running.id == order.id:
            raise SoftTimeLimitExceeded(order.reason)
