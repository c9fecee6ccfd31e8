"""Those who wait for results: a thread, a coroutine, or a callback.

Made by ``listening``; the listener fills their inboxes and wakes them. A waiter belongs to the
thread or loop that made it; what the listener touches is marked, and touched under its lock.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self

from umbel.model.outcome import ResultRecord

logger = logging.getLogger("umbel.results")


class Listening(Protocol):
    """The listener, as its waiters see it."""

    def join(self, waiter: Waiter) -> None:
        """Register the waiter for its missing ids."""

    def leave(self, waiter: Waiter) -> None:
        """Forget the waiter."""

    def listen_for(self, waiter: ThreadWaiter, deadline: float | None) -> None:
        """Return when the waiter has something to read, or the deadline passed."""


class Waiter(ABC):
    """One party waiting for the records of some ids. All fields belong to the listener's lock."""

    __slots__ = ("counted", "error", "inbox", "listener", "missing", "trouble")

    leads = False
    """It can drive the watcher itself while it waits."""

    def __init__(self, listener: Listening, task_ids: Iterable[str]) -> None:
        self.listener = listener
        self.missing = set(task_ids)
        """Ids whose final record has not come."""
        self.inbox: deque[ResultRecord] = deque()
        self.error: Exception | None = None
        """Why nothing more will come."""
        self.trouble: Exception | None = None
        """Why nothing came lately; waiting goes on."""
        self.counted = False
        """The listener counts it among those whom the background thread serves."""

    def __enter__(self) -> Self:
        self.listener.join(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.listener.leave(self)

    def drain(self) -> list[ResultRecord]:
        """Take what has come. Raises the listener's error when nothing ever will."""
        records: list[ResultRecord] = []
        while self.inbox:
            records.append(self.inbox.popleft())
        if not records and self.error is not None:
            raise self.error
        return records

    @abstractmethod
    def after_delivery(self) -> None:
        """Something has come. Called without the lock, by whoever listens."""


class ThreadWaiter(Waiter):
    """A thread (or greenlet) that sleeps, or listens itself, until its records come."""

    __slots__ = ("_bell",)

    leads = True

    def __init__(self, listener: Listening, task_ids: Iterable[str]) -> None:
        super().__init__(listener, task_ids)
        self._bell: threading.Lock | None = None

    def take(self, deadline: float | None) -> Sequence[ResultRecord]:
        """Return what came, waiting for the first record until ``deadline`` (monotonic seconds).

        Empty: the deadline passed, or nothing is missing any more.
        """
        if not self.inbox and self.error is None:
            if not self.missing:
                return ()
            self.listener.listen_for(self, deadline)
        return self.drain()

    def prepare_to_sleep(self) -> None:
        """Under the lock: from now on ``rouse`` may come, exactly once for each call of this."""
        # Made late: a waiter that leads from beginning to end never sleeps.
        if self._bell is None:
            self._bell = threading.Lock()
            self._bell.acquire()

    def sleep(self, deadline: float | None) -> bool:
        """Wait for ``rouse``; False when the deadline passed first."""
        assert self._bell is not None
        if deadline is None:
            return self._bell.acquire()
        return self._bell.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def rouse(self) -> None:
        """End the sleep that was prepared. Under the lock."""
        assert self._bell is not None
        self._bell.release()

    def forget_rouse(self) -> None:
        """Use up a ``rouse`` that came too late. Under the lock."""
        assert self._bell is not None
        self._bell.acquire(blocking=False)

    def after_delivery(self) -> None:
        """Nothing: it was roused under the lock, or is the one who listens."""


class AsyncWaiter(Waiter):
    """A coroutine that awaits its records. To be made and used on one running loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self, listener: Listening, task_ids: Iterable[str]) -> None:
        super().__init__(listener, task_ids)
        import asyncio  # noqa: PLC0415 - a fifth of the import time of programs without coroutines

        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None

    async def take(self, deadline: float | None) -> Sequence[ResultRecord]:
        """Do as ``ThreadWaiter.take``. Cancelling it leaves everything as it was."""
        if not self.inbox and self.error is None and self.missing:
            # The bell rings on this very loop, so it cannot ring between the test and the await.
            self._future = self._loop.create_future()
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            import asyncio  # noqa: PLC0415 - as above

            try:
                async with asyncio.timeout(timeout):
                    await self._future
            except TimeoutError:
                pass
            finally:
                self._future = None
        return self.drain()

    def after_delivery(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ring)
        except RuntimeError:
            self.listener.leave(self)  # the loop was closed: nobody is waiting there any more

    def _ring(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class CallbackWaiter(Waiter):
    """A function to be called with each record, or once with the error that ends the waiting.

    Both are called on a thread that does nothing else, so they may wait for results themselves.
    """

    __slots__ = ("_on_error", "_on_record")

    def __init__(
        self,
        listener: Listening,
        task_ids: Iterable[str],
        on_record: Callable[[ResultRecord], object],
        on_error: Callable[[Exception], object],
    ) -> None:
        super().__init__(listener, task_ids)
        self._on_record = on_record
        self._on_error = on_error

    def after_delivery(self) -> None:
        _callbacks().put(self._run)

    def _run(self) -> None:
        try:
            records = self.drain()
        except Exception as error:  # noqa: BLE001 - whatever ended the waiting
            self._on_error(error)
            return
        for record in records:
            self._on_record(record)


_queue: SimpleQueue[Callable[[], None]] | None = None
_queue_lock = threading.Lock()


def _callbacks() -> SimpleQueue[Callable[[], None]]:
    """Return the queue of the thread that runs callbacks, started at first use."""
    global _queue  # noqa: PLW0603 - one thread for the process
    with _queue_lock:
        if _queue is None:
            _queue = SimpleQueue()
            threading.Thread(
                target=_serve, args=(_queue,), name="umbel-result-callbacks", daemon=True
            ).start()
        return _queue


def _serve(queue: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        call = queue.get()
        try:
            call()
        except Exception:
            logger.exception("a callback waiting for a result raised")


def forget_callbacks_thread() -> None:
    """In a forked child: its threads did not come along."""
    global _queue, _queue_lock  # noqa: PLW0603 - as above
    _queue = None
    _queue_lock = threading.Lock()
