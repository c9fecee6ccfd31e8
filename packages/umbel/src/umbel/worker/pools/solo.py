"""No executor at all: tasks run one at a time on the worker's own main thread (``solo``).

For debugging (a breakpoint works) and for tests. While a task runs, the supervisor's loop waits:
time limits and shutdown come after it; leases are renewed all the same, by the intake thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from umbel.model.assignment import Assignment, Interrupt, PoolEvent, Report, Returned
from umbel.ports import Pool
from umbel.worker.execution import Execution


class SoloPool(Pool):
    """One slot, right here."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._backlog: deque[Assignment] = deque()
        self._returned: list[int] = []
        self._bell = threading.Event()

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
            prepared = self._execution.prepare(self._backlog.popleft())
            if prepared.began is not None:
                events.append(prepared.began)
            report: Report = self._execution.run(prepared)
            events.append(report)
        else:
            self._bell.wait(timeout)
            self._bell.clear()
        return events

    def wake(self) -> None:
        self._bell.set()

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:  # noqa: ARG002
        return False  # whoever asks runs on the thread that the task would be running on

    def recall(self) -> None:
        self._returned.extend(each.id for each in self._backlog)
        self._backlog.clear()

    def stop(self) -> None:
        self.recall()

    def close(self) -> None:
        """Nothing to end."""
