"""Many slots as threads of one process (``threads``).

The main thread reads the socket; N threads take assignments from a queue and report by themselves.
A soft limit, and the word to end, are raised inside the thread at its next bytecode; blocking C
code is not interrupted.
"""

from __future__ import annotations

import queue
import threading

from umbel.model.assignment import Assignment, Began, Cancel, Leaving, Order, Recall, Returned
from umbel.worker.channel import Channel, SupervisorGone
from umbel.worker.execution import Execution
from umbel.worker.retirement import Retirement
from umbel.worker.slots.interruption import cancelled_because, interruption
from umbel.worker.slots.thread_interrupts import ThreadInterrupts


class ThreadSlots:
    """N threads, one assignment each at a time."""

    def __init__(
        self, channel: Channel, execution: Execution, retirement: Retirement, slots: int
    ) -> None:
        self._channel = channel
        self._execution = execution
        self._retirement = retirement
        self._queue: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self._interrupts = ThreadInterrupts()
        self._cancellations = execution.cancellations
        self._running: set[int] = set()
        """From before the message is opened until after the report."""
        self._lock = threading.Lock()
        self._retiring = False
        self._threads = [
            threading.Thread(target=self._work, name=f"umbel-slot-{n + 1}", daemon=True)
            for n in range(slots)
        ]

    def serve(self) -> None:
        """Work until told to stop. Raises SupervisorGone.

        When it is time to retire the supervisor is told so, and its answer is the order to stop.
        """
        for thread in self._threads:
            thread.start()
        while True:
            for order in self._channel.hear():
                if not self._take(order):
                    self._finish()
                    return

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
                self._cancellations.ending |= order.ending
                self._give_back()
            case Cancel():
                self._cancel(order)
            case _:
                self._give_back()
                return False
        return True

    def _cancel(self, order: Cancel) -> None:
        # Race: a thread may have just taken it, and not be seen to run it. It is noted first and
        # looked for then; the thread shows itself first and looks at the notes then. So one of the
        # two hears of the other, or both: then it is given back, and the interrupt finds nobody.
        self._cancellations.note(order.id, cancelled_because(order))
        if order.id not in self._running:
            self._give_back()  # the others come again
            return
        error = interruption(order)
        if error is not None:
            self._interrupts.interrupt(order.id, type(error), opening=True)

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
            for each in ids:
                if self._cancellations.reasons:
                    self._cancellations.ended(each)
            self._channel.send(Returned(tuple(ids)))

    def _work(self) -> None:
        while True:
            assignment = self._queue.get()
            if assignment is None:
                return
            try:
                self._running.add(assignment.id)
                if self._retiring or assignment.id in self._cancellations.reasons:
                    self._channel.send(Returned((assignment.id,)))
                else:
                    self._run(assignment)
            except SupervisorGone:
                return
            finally:
                self._running.discard(assignment.id)
                self._interrupts.forget(assignment.id)
                if self._cancellations.reasons:
                    self._cancellations.ended(assignment.id)

    def _run(self, assignment: Assignment) -> None:
        self._channel.send(Began(assignment.id, None))
        prepared = self._execution.prepare(assignment)
        if prepared.began is not None:
            self._channel.send(prepared.began)
        report = self._interrupts.run(
            assignment.id,
            lambda: self._execution.run_contained(prepared),
            lambda limit: self._execution.failed(prepared, limit),
        )
        self._channel.send(report)
        with self._lock:
            why = None if self._retiring else self._retirement.after_task()
            self._retiring = self._retiring or why is not None
        if why is not None:
            self._channel.send(Leaving(why))
            self._give_back()
