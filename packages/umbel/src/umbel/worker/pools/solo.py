"""No executor at all: tasks run one at a time on the worker's own main thread (``solo``).

For debugging (a breakpoint works) and for tests. While a task runs, the supervisor's loop waits:
shutdown comes after it; leases are renewed all the same, by the intake thread.

Time limits are kept by the process's alarm clock (``signal.setitimer``), whose handler raises
inside the task. So they need the main thread of a system that has one, the task must not use
``SIGALRM`` itself, and code that never comes back to Python bytecode is not interrupted. A hard
limit raises as well: nothing here can be killed. A task that catches it gets it again a second
later, until it ends.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections import deque
from collections.abc import Sequence
from types import FrameType

from umbel.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from umbel.model.assignment import Assignment, Interrupt, PoolEvent, Report, Returned
from umbel.ports import Pool
from umbel.worker.execution import Execution, Prepared

logger = logging.getLogger("umbel.worker")

INSIST_EVERY = 1.0
"""Seconds between one raising of the hard limit and the next."""


class SoloPool(Pool):
    """One slot, right here."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._backlog: deque[Assignment] = deque()
        self._returned: list[int] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Its ``put`` may interrupt its ``get``: signal handlers ring on the thread that waits."""
        self._soft_next = False
        self._running: Assignment | None = None

    def start(self) -> None:
        """Nothing to start."""

    def capacity(self) -> int:
        return 1

    def room(self) -> int:
        return 1 - len(self._backlog)

    def submit(self, assignments: Sequence[Assignment]) -> None:
        self._backlog.extend(assignments)

    def poll(self, timeout: float) -> Sequence[PoolEvent]:
        events: list[PoolEvent] = []
        if self._returned:
            events.append(Returned(tuple(self._returned)))
            self._returned.clear()
        elif self._backlog:
            assignment = self._backlog.popleft()
            prepared = self._execution.prepare(assignment)
            if prepared.began is not None:
                events.append(prepared.began)
            if assignment.soft_limit is None and assignment.hard_limit is None:
                report: Report = self._execution.run(prepared)
            else:
                report = self._run_limited(prepared)
            events.append(report)
        else:
            self._wait(timeout)
        return events

    def wake(self) -> None:
        self._bell.put(None)

    def _wait(self, timeout: float) -> None:
        try:
            self._bell.get(timeout=max(0.0, timeout))
            while True:
                self._bell.get_nowait()
        except queue.Empty:
            pass

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:  # noqa: ARG002
        return False  # whoever asks runs on the thread that the task would be running on

    def recall(self) -> None:
        self._returned.extend(each.id for each in self._backlog)
        self._backlog.clear()

    def stop(self) -> None:
        self.recall()

    def close(self) -> None:
        """Nothing to end."""

    # --- time limits ------------------------------------------------------------------------------

    def _run_limited(self, prepared: Prepared) -> Report:
        if not hasattr(signal, "setitimer") or (
            threading.current_thread() is not threading.main_thread()
        ):
            logger.warning("Time limits are not kept: solo needs the main thread's alarm clock")
            return self._execution.run(prepared)
        former = signal.signal(signal.SIGALRM, self._on_alarm)
        try:
            self._running = prepared.assignment
            try:
                self._set_alarm(prepared.assignment)
                return self._execution.run(prepared)
            finally:
                self._running = None
                signal.setitimer(signal.ITIMER_REAL, 0.0)
        except (SoftTimeLimitExceeded, TimeLimitExceeded) as limit:
            # It struck beside the body: before it began, or while its end was written down.
            return self._execution.failed(prepared, limit)
        finally:
            signal.signal(signal.SIGALRM, former)

    def _set_alarm(self, assignment: Assignment) -> None:
        soft, hard = assignment.soft_limit, assignment.hard_limit
        self._soft_next = soft is not None and (hard is None or soft < hard)
        first = soft if self._soft_next else hard
        assert first is not None
        signal.setitimer(signal.ITIMER_REAL, max(first, 1e-6))

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        running = self._running
        if running is None:
            return  # it has just ended
        soft, hard = running.soft_limit, running.hard_limit
        if self._soft_next and soft is not None:
            self._soft_next = False
            if hard is not None:
                signal.setitimer(signal.ITIMER_REAL, max(hard - soft, 1e-6))
            raise SoftTimeLimitExceeded(f"{soft:g} s")
        signal.setitimer(signal.ITIMER_REAL, INSIST_EVERY)
        raise TimeLimitExceeded(hard)
