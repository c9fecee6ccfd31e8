"""Many slots as coroutines of one event loop (``asyncio``).

Coroutine tasks run side by side on the loop; plain functions run on threads beside it, at most as
many as there are slots, so they never block the coroutines. uvloop is used where it is installed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from umbel.errors import TaskInterrupted, Terminated
from umbel.model.assignment import (
    Assignment,
    Began,
    Cancel,
    Leaving,
    Order,
    Recall,
    Report,
    Returned,
)
from umbel.worker.channel import Channel, SupervisorGone
from umbel.worker.execution import Execution, Prepared
from umbel.worker.frames import read_some
from umbel.worker.retirement import Retirement
from umbel.worker.slots.interruption import cancelled_because, interruption
from umbel.worker.slots.thread_interrupts import ThreadInterrupts


class CoroutineSlots:
    """N coroutines at most, on the main thread's event loop."""

    def __init__(
        self, channel: Channel, execution: Execution, retirement: Retirement, slots: int
    ) -> None:
        self._channel = channel
        self._execution = execution
        self._retirement = retirement
        self._slots = slots
        self._backlog: deque[Assignment] = deque()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._begun: set[int] = set()
        self._cancellations = execution.cancellations
        self._interrupts = ThreadInterrupts()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="umbel-slot")
        self._retiring: str | None = None
        self._stopping = False
        self._gone = False

    def serve(self) -> None:
        """Work until told to stop or time to retire. Raises SupervisorGone."""
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve())
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._gone:
            raise SupervisorGone

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._channel.sock.setblocking(False)
        self._thread = threading.get_ident()
        self._cancellations.look = self._look
        loop.add_reader(self._channel.sock, self._readable)
        try:
            await self._ended.wait()
        finally:
            loop.remove_reader(self._channel.sock)
            self._channel.sock.setblocking(True)

    def _readable(self) -> None:
        try:
            orders = self._channel.parse(read_some(self._channel.sock))
        except SupervisorGone:
            self._gone = True
            self._ended.set()
            return
        for order in orders:
            self._take(order)
        self._fill()

    def _take(self, order: Order) -> None:
        match order:
            case Assignment():
                self._backlog.append(order)
            case Recall():
                self._cancellations.ending |= order.ending
                self._give_back()
            case Cancel():
                self._cancel(order)
            case _:
                self._stopping = True
                self._give_back()

    def _look(self) -> None:
        """Read what has come, for a coroutine that has not awaited anything for long."""
        if threading.get_ident() == self._thread:
            self._readable()

    def _cancel(self, order: Cancel) -> None:
        waiting = next((each for each in self._backlog if each.id == order.id), None)
        if waiting is not None:
            self._backlog.remove(waiting)
            self._say(Returned((order.id,)))
            return
        self._cancellations.note(order.id, cancelled_because(order))
        error = interruption(order)
        if error is not None and order.id in self._begun:
            # ``app.running`` raises the message itself inside the coroutine.
            self._running[order.id].cancel(error)

    def _give_back(self) -> None:
        ids = tuple(each.id for each in self._backlog)
        self._backlog.clear()
        if ids:
            self._say(Returned(ids))

    def _say(self, *words: Report | Began | Returned | Leaving) -> None:
        # A supervisor that does not read for so long that the buffer is full is waited for: there
        # is nothing better to do with a report.
        try:
            self._channel.send(*words)
        except SupervisorGone:
            self._gone = True
            self._ended.set()

    def _fill(self) -> None:
        while self._backlog and len(self._running) < self._slots and self._retiring is None:
            assignment = self._backlog.popleft()
            task = asyncio.get_running_loop().create_task(self._run(assignment))
            self._running[assignment.id] = task
        # Having told that it retires it is told to stop: no assignment is lost on the way.
        if not self._running and self._stopping:
            self._give_back()
            self._ended.set()

    async def _run(self, assignment: Assignment) -> None:
        self._begun.add(assignment.id)
        try:
            if assignment.id in self._cancellations.reasons:
                self._say(Returned((assignment.id,)))
            else:
                self._say(Began(assignment.id, None))
                prepared = self._execution.prepare(assignment)
                if prepared.began is not None:
                    self._say(prepared.began)
                self._say(await self._report(prepared))
        finally:
            self._begun.discard(assignment.id)
            self._running.pop(assignment.id, None)
            if self._cancellations.reasons:
                self._cancellations.ended(assignment.id)
            self._interrupts.forget(assignment.id)
        why = self._retirement.after_task()
        if why is not None and self._retiring is None:
            self._retiring = why
            self._say(Leaving(why))
            self._give_back()
        self._fill()

    async def _report(self, prepared: Prepared) -> Report:
        if self._execution.on_loop(prepared):
            try:
                return await self._execution.run_async(prepared)
            except (SystemExit, KeyboardInterrupt) as error:
                # They would end the loop, and with it every task that runs beside this one.
                return self._execution.failed(prepared, error)
            except asyncio.CancelledError as cancelled:
                if self._ended.is_set():
                    raise
                return self._execution.failed(prepared, _raised(cancelled))
        future = asyncio.get_running_loop().run_in_executor(
            self._threads,
            self._interrupts.run,
            prepared.assignment.id,
            lambda: self._execution.run_contained(prepared),
            lambda limit: self._execution.failed(prepared, limit),
        )
        while True:
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError as cancelled:
                if self._ended.is_set():
                    raise
                # It is raised where the function runs, which then ends by itself.
                kind = type(_raised(cancelled))
                self._interrupts.interrupt(prepared.assignment.id, kind, opening=True)


def _raised(cancelled: asyncio.CancelledError) -> TaskInterrupted:
    """Return what a cancellation of ours stands for; somebody else's ends the task as well."""
    error = cancelled.args[0] if cancelled.args else None
    return error if isinstance(error, TaskInterrupted) else Terminated("cancelled")


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return uvloop.Loop
