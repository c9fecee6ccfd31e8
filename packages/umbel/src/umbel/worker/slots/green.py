"""Many slots as greenlets of one process (``gevent``, ``eventlet``).

The template patches the standard library before it imports the app, so sockets, sleeps and locks
of user code switch between greenlets. The main greenlet reads the socket; each assignment gets a
greenlet. A soft limit, and the word to end, are raised in the greenlet at its next switch.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from umbel.errors import TaskInterrupted
from umbel.model.assignment import Assignment, Began, Cancel, Leaving, Order, Recall, Returned
from umbel.worker.channel import Channel, SupervisorGone
from umbel.worker.execution import Execution
from umbel.worker.retirement import Retirement
from umbel.worker.slots.interruption import cancelled_because, interruption


class Greenlets(Protocol):
    """What one green library must offer."""

    def spawn(self, body: Any, *args: Any) -> Any:
        """Start a greenlet and return it."""

    def throw(self, greenlet: Any, error: BaseException) -> None:
        """Raise inside a greenlet at its next switch."""

    def switch(self) -> None:
        """Let the other greenlets run, if they have something to do."""

    def join(self, greenlets: list[Any]) -> None:
        """Wait until all of these have ended."""


class GreenSlots:
    """N greenlets at most."""

    def __init__(
        self,
        channel: Channel,
        execution: Execution,
        retirement: Retirement,
        slots: int,
        greenlets: Greenlets,
    ) -> None:
        self._channel = channel
        self._execution = execution
        self._retirement = retirement
        self._slots = slots
        self._greenlets = greenlets
        self._backlog: deque[Assignment] = deque()
        self._running: dict[int, Any] = {}
        self._begun: set[int] = set()
        """Of these, whose greenlet has run; one that has not would just vanish if it were ended."""
        self._cancellations = execution.cancellations
        self._cancellations.look = greenlets.switch
        self._retiring = False

    def serve(self) -> None:
        """Work until told to stop. Raises SupervisorGone.

        When it is time to retire the supervisor is told so, and its answer is the order to stop.
        """
        stopping = False
        while not stopping:
            for order in self._channel.hear():
                stopping = not self._take(order) or stopping
            self._fill()
        while self._running:
            self._greenlets.join(list(self._running.values()))

    def _take(self, order: Order) -> bool:
        match order:
            case Assignment():
                self._backlog.append(order)
            case Recall():
                self._cancellations.ending |= order.ending
                self._give_back()
            case Cancel():
                self._cancel(order)
            case _:
                self._give_back()
                return False
        return True

    def _cancel(self, order: Cancel) -> None:
        waiting = next((each for each in self._backlog if each.id == order.id), None)
        if waiting is not None:
            self._backlog.remove(waiting)
            self._channel.send(Returned((order.id,)))
            return
        self._cancellations.note(order.id, cancelled_because(order))
        error = interruption(order)
        if error is not None and order.id in self._begun:
            self._greenlets.throw(self._running[order.id], error)

    def _give_back(self) -> None:
        ids = tuple(each.id for each in self._backlog)
        self._backlog.clear()
        if ids:
            self._channel.send(Returned(ids))

    def _fill(self) -> None:
        while self._backlog and len(self._running) < self._slots and not self._retiring:
            assignment = self._backlog.popleft()
            self._running[assignment.id] = self._greenlets.spawn(self._run, assignment)

    def _run(self, assignment: Assignment) -> None:
        self._begun.add(assignment.id)
        try:
            if assignment.id in self._cancellations.reasons:
                self._channel.send(Returned((assignment.id,)))
                return
            self._channel.send(Began(assignment.id, None))
            prepared = self._execution.prepare(assignment)
            if prepared.began is not None:
                self._channel.send(prepared.began)
            try:
                report = self._execution.run_contained(prepared)
            except TaskInterrupted as limit:  # it struck beside the body
                report = self._execution.failed(prepared, limit)
            self._channel.send(report)
            why = None if self._retiring else self._retirement.after_task()
            if why is not None:
                self._retiring = True
                self._channel.send(Leaving(why))
                self._give_back()
        except SupervisorGone:
            self._retiring = True
        finally:
            self._begun.discard(assignment.id)
            self._running.pop(assignment.id, None)
            if self._cancellations.reasons:
                self._cancellations.ended(assignment.id)
            self._fill()
