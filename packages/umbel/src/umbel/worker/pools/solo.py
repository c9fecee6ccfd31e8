"""No executor at all: tasks run one at a time on the worker's own main thread (``solo``).

For debugging (a breakpoint works) and for tests. While a task runs, the supervisor's loop stands
still inside ``poll``; leases are renewed all the same, by the intake thread. What must be seen to
meanwhile (time limits, revocations, a shutdown) is seen to inside the task: whoever has news rings,
the ring is a signal to the main thread (SIGURG, which nobody misses), and its handler lets the
supervisor ``glance`` around between two bytecodes of the task.

So nothing here can be killed: what ends a task by force is an exception that is no ``Exception``,
raised in it again every second until it ends; code that never comes back to Python is not reached.
Off the main thread, or where there are no such signals, none of this works, and a warning says so.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from umbel.errors import NotSupported, TaskInterrupted
from umbel.model.assignment import (
    Assignment,
    Began,
    Cancel,
    Interrupt,
    Lost,
    PoolEvent,
    Returned,
)
from umbel.model.pool_condition import PoolCondition
from umbel.ports import Pool
from umbel.worker.execution import Execution, Prepared
from umbel.worker.slots.interruption import cancelled_because, interruption

logger = logging.getLogger("umbel.worker")

INSIST_EVERY = 1.0
"""Seconds between one raising of what ends a task by force and the next."""
WORKER_ENDS = "the worker ends"


class _Cut(BaseException):
    """Ends the running task by force. Not an Exception, so that few tasks catch it."""


class SoloPool(Pool):
    """One slot, right here."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._cancellations = execution.cancellations
        self._backlog: deque[Assignment] = deque()
        self._prepared: Prepared | None = None
        """Said to have begun; the next ``poll`` runs it."""
        self._returned: list[int] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Its ``put`` may interrupt its ``get``: signal handlers ring on the thread that waits."""
        self._glance: Callable[[], float | None] | None = None
        self._running: Assignment | None = None
        self._reachable = False
        self._rung = False
        self._looking = False
        self._news_at_once = False
        """The next run has a limit, or the worker ends: look before it begins."""
        self._touched = False
        """The supervisor looked around in this run: there may be something to forget."""
        self._raise_next: BaseException | None = None
        self._cut: str | None = None
        """The running task must end by force: why. Raised again and again."""
        self._timer: threading.Timer | None = None

    def attend(self, glance: Callable[[], float | None]) -> None:
        """Have this called inside a running task when there is news.

        It returns in how many seconds it wants to be called again without any, or None.
        """
        self._glance = glance

    # --- the port ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the signal that rings. Off the main thread nothing reaches a running task."""
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGURG"):
            signal.signal(signal.SIGURG, self._on_ring)
            self._reachable = True

    def capacity(self) -> int:
        return 1

    def room(self) -> int:
        busy = self._prepared is not None or self._running is not None
        return 1 - len(self._backlog) - int(busy)

    def submit(self, assignments: Sequence[Assignment]) -> None:
        self._backlog.extend(assignments)

    def poll(self, timeout: float) -> Sequence[PoolEvent]:
        if self._returned:
            ids, self._returned = tuple(self._returned), []
            return (Returned(ids),)
        prepared = self._prepared
        if prepared is None:
            if not self._backlog:
                self._wait(timeout)
                return ()
            prepared = self._execution.prepare(self._backlog.popleft())
            soft, hard = prepared.assignment.soft_limit, prepared.assignment.hard_limit
            if prepared.began is not None or soft is not None or hard is not None:
                return (self._begin(prepared),)
        self._prepared = None
        try:
            self._running = prepared.assignment
            try:
                if self._news_at_once:
                    self._look()
                return (self._execution.run(prepared),)
            finally:
                self._running = None  # from here on a ring does nothing
        except TaskInterrupted as interrupted:
            # It struck beside the body: before it began, or while its end was written down.
            self._running = None
            return (self._execution.failed(prepared, interrupted),)
        except _Cut:
            self._running = None
            return (Lost(prepared.assignment.id, None, innocent=self._cut == WORKER_ENDS),)
        finally:
            if self._touched:
                self._clear(prepared.assignment.id)

    def _begin(self, prepared: Prepared) -> PoolEvent:
        """Have the supervisor hear that it begins, before the next ``poll`` runs it."""
        self._prepared = prepared
        if _limited(prepared.assignment):
            self._news_at_once = self._reachable
            if not self._reachable:
                words = "Time limits are not kept: solo needs the main thread and its signals"
                logger.warning(words)
        return prepared.began or Began(prepared.assignment.id, None)

    def wake(self) -> None:
        self._bell.put(None)
        if self._running is not None and self._reachable:
            signal.pthread_kill(_main_thread(), signal.SIGURG)

    def _wait(self, timeout: float) -> None:
        try:
            self._bell.get(timeout=max(0.0, timeout))
            while True:
                self._bell.get_nowait()
        except queue.Empty:
            pass

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:
        waits = next((each for each in self._backlog if each.id == assignment_id), None)
        if waits is not None:
            self._backlog.remove(waits)
            self._returned.append(assignment_id)
            return True
        prepared = self._prepared
        if prepared is not None and prepared.assignment.id == assignment_id:
            self._prepared = None
            self._returned.append(assignment_id)
            return True
        if self._running is None or self._running.id != assignment_id:
            return False
        if how is Interrupt.HARD:
            self._cut = reason
            return True
        order = Cancel(assignment_id, how, reason)
        self._cancellations.note(assignment_id, cancelled_because(order))
        self._raise_next = interruption(order)
        return True

    def running(self) -> Mapping[int, int]:
        return {} if self._running is None else {self._running.id: os.getpid()}

    def pids(self) -> Sequence[int]:
        return [os.getpid()]

    def condition(self) -> PoolCondition:
        return PoolCondition(ready=1, wanted=1)

    def resize(self, change: int) -> int:  # noqa: ARG002 - whatever it is
        raise NotSupported("the solo pool runs one task at a time, always")

    def renew(self) -> None:
        raise NotSupported("the solo pool has no executor processes that could be replaced")

    def recall(self) -> None:
        self._cancellations.ending = True
        self._news_at_once = self._reachable
        self._returned.extend(each.id for each in self._backlog)
        self._backlog.clear()

    def stop(self) -> None:
        self.recall()
        if self._running is not None:
            self._cut = WORKER_ENDS

    def close(self) -> None:
        """Nothing to end."""

    # --- inside a run -----------------------------------------------------------------------------

    def _clear(self, assignment_id: int) -> None:
        """Forget what was asked of a run that is over."""
        self._cut = self._raise_next = None
        self._news_at_once = self._cancellations.ending and self._reachable
        self._touched = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._cancellations.ended(assignment_id)

    def _on_ring(self, _number: int, _frame: FrameType | None) -> None:
        self._rung = True
        if self._running is not None and not self._looking:
            self._look()

    def _look(self) -> None:
        """Let the supervisor look around, to the end, before anything is raised in the task."""
        self._looking = self._touched = True
        try:
            self._rung = True
            wait: float | None = None
            while self._rung:
                self._rung = False
                wait = None if self._glance is None else self._glance()
            if self._cut is not None:
                wait = INSIST_EVERY if wait is None else min(wait, INSIST_EVERY)
            self._ring_in(wait)
        finally:
            self._looking = False
        error, self._raise_next = self._raise_next, None
        if self._cut is not None:
            raise _Cut(self._cut)
        if error is not None:
            raise error

    def _ring_in(self, wait: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait is not None and self._running is not None:
            self._timer = threading.Timer(max(0.0, wait), self.wake)
            self._timer.daemon = True
            self._timer.start()


def _limited(assignment: Assignment) -> bool:
    return assignment.soft_limit is not None or assignment.hard_limit is not None


def _main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident
