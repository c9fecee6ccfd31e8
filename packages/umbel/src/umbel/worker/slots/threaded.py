"""Many slots as threads of one process (``threads``).

The main thread reads the socket; N threads take assignments from a queue and report by themselves.
A soft limit is raised inside the thread at its next bytecode; blocking C code is not interrupted.
"""

from __future__ import annotations

import ctypes
import queue
import threading

from umbel.errors import SoftTimeLimitExceeded
from umbel.model.assignment import Assignment, Began, Cancel, Leaving, Order, Recall, Returned
from umbel.worker.channel import Channel, SupervisorGone
from umbel.worker.execution import Execution
from umbel.worker.retirement import Retirement


class ThreadSlots:
    """N threads, one assignment each at a time."""

    def __init__(
        self, channel: Channel, execution: Execution, retirement: Retirement, slots: int
    ) -> None:
        self._channel = channel
        self._execution = execution
        self._retirement = retirement
        self._queue: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self._running: dict[int, int] = {}  # assignment id -> thread ident; under _lock
        self._lock = threading.Lock()
        self._retiring = False
        self._threads = [
            threading.Thread(target=self._work, name=f"umbel-slot-{n + 1}", daemon=True)
            for n in range(slots)
        ]

    def serve(self) -> None:
        """Work until told to stop or time to retire. Raises SupervisorGone."""
        for thread in self._threads:
            thread.start()
        while not self._retiring:
            for order in self._channel.hear():
                if not self._take(order):
                    self._finish()
                    return
        self._finish()

    def _finish(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _take(self, order: Order) -> bool:
        match order:
            case Assignment():
                self._queue.put(order)
            case Recall():
                self._give_back()
            case Cancel():
                self._cancel(order)
            case _:
                self._give_back()
                return False
        return True

    def _give_back(self) -> None:
        ids = []
        while True:
            try:
                assignment = self._queue.get_nowait()
            except queue.Empty:
                break
            if assignment is not None:
                ids.append(assignment.id)
        if ids:
            self._channel.send(Returned(tuple(ids)))

    def _cancel(self, order: Cancel) -> None:
        with self._lock:
            ident = self._running.get(order.id)
            if ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(ident), ctypes.py_object(SoftTimeLimitExceeded)
                )

    def _work(self) -> None:
        while True:
            assignment = self._queue.get()
            if assignment is None:
                return
            try:
                self._run(assignment)
            except SupervisorGone:
                return

    def _run(self, assignment: Assignment) -> None:
        prepared = self._execution.prepare(assignment)
        self._channel.send(prepared.began or Began(assignment.id, None))
        with self._lock:
            self._running[assignment.id] = threading.get_ident()
        try:
            report = self._execution.run(prepared)
        finally:
            with self._lock:
                del self._running[assignment.id]
        self._channel.send(report)
        with self._lock:
            why = None if self._retiring else self._retirement.after_task()
            self._retiring = self._retiring or why is not None
        if why is not None:
            self._channel.send(Leaving(why))
            self._give_back()
