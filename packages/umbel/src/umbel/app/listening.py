"""Waiting for results: one listener per process and backend, told by the store, never polling.

Called by ``handles`` and ``result_sets``, and made by the app. Who listens, and what happens when
the store goes away, is in ``result_leading``. It deals in ids and records; what a record means is
decoded by those who asked.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from umbel.app.result_leading import Leading
from umbel.app.result_waiters import (
    AsyncWaiter,
    CallbackWaiter,
    ThreadWaiter,
    forget_callbacks_thread,
)
from umbel.errors import BackendUnavailable
from umbel.model.outcome import ResultRecord
from umbel.ports import ResultBackend, Watcher


class ResultListener(Leading):
    """Hears of results for one process and one backend. Thread-safe; works on in a forked child.

    ``patience``: how many seconds a store that cannot be reached is tried before those who wait
    are told. The default is how long Celery's own retry policy lasts for Redis.
    """

    def __init__(self, backend: ResultBackend, *, patience: float = 20.0) -> None:
        super().__init__(backend, patience=patience)
        _living.add(self)

    # --- what handles use -------------------------------------------------------------------------

    def session(self, task_ids: Iterable[str]) -> ThreadWaiter:
        """Wait for these ids on the calling thread: ``with`` it, and ``take``."""
        return ThreadWaiter(self, task_ids)

    def async_session(self, task_ids: Iterable[str]) -> AsyncWaiter:
        """Wait for these ids in the running coroutine: ``with`` it, and ``await take``."""
        return AsyncWaiter(self, task_ids)

    def notify(
        self,
        task_ids: Iterable[str],
        on_record: Callable[[ResultRecord], object],
        on_error: Callable[[Exception], object],
    ) -> None:
        """Have a function called with every record of these ids until each has its final one.

        It is called on a thread of its own. ``on_error`` is called once, when waiting ended for
        another reason.
        """
        self.join(CallbackWaiter(self, task_ids, on_record, on_error))

    def wait(self, task_ids: Iterable[str], timeout: float | None) -> Mapping[str, ResultRecord]:
        """Return the final records that came within ``timeout`` seconds; None waits for all."""
        deadline = None if timeout is None else time.monotonic() + timeout
        final: dict[str, ResultRecord] = {}
        with self.session(task_ids) as waiter:
            while records := waiter.take(deadline):
                final.update((one.task_id, one) for one in records if one.final)
        return final

    def future(self, task_id: str) -> Future[ResultRecord]:
        """Return a future of the final record. Cancelling it has no effect on the task."""
        future: Future[ResultRecord] = Future()

        def on_record(record: ResultRecord) -> None:
            if record.final and future.set_running_or_notify_cancel():
                future.set_result(record)

        def on_error(error: Exception) -> None:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

        self.notify([task_id], on_record, on_error)
        return future

    async def awaitable(self, task_id: str) -> ResultRecord:
        """Return the final record, without blocking the loop. May be cancelled."""
        with self.async_session([task_id]) as waiter:
            while True:
                for record in await waiter.take(None):
                    if record.final:
                        return record

    def close(self) -> None:
        """Stop listening. Those who wait are told BackendUnavailable; later calls start anew."""
        self._fail(BackendUnavailable("the app was closed while results were waited for"))
        with self._lock:
            thread, self._thread = self._thread, None
            watcher = self._watcher
            if self._leader is None:
                self._watcher = None
                self._stale = {}
            else:
                self._closing = True  # the leader closes it when it leaves
            led = self._leader is not None
        if thread is not None:
            thread.stop()
        if watcher is not None and led:
            watcher.wake()
        elif watcher is not None:
            watcher.close()


_living: weakref.WeakSet[ResultListener] = weakref.WeakSet()
_inherited: list[Watcher] = []
"""Watchers of the parent process: kept, so that no finaliser speaks on the parent's socket."""


def _in_child() -> None:
    forget_callbacks_thread()
    for listener in list(_living):
        if listener._watcher is not None:
            _inherited.append(listener._watcher)
        listener.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


_by_backend: dict[ResultBackend, ResultListener] = {}


def listener_for(backend: ResultBackend) -> ResultListener:
    """Return the listener, one per process, of a backend that is not the app's own."""
    return _by_backend.get(backend) or _by_backend.setdefault(backend, ResultListener(backend))
