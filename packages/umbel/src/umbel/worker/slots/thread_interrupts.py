"""Raising an interruption inside a thread, and in nothing but the task that it is meant for.

Used by the slots that run tasks on threads (``threaded``, and ``aio`` for plain functions). CPython
delivers an exception to a thread at one of its next bytecodes; a thread that waits in C code hears
of it when it comes back.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from umbel.app.running import interrupt_coroutine
from umbel.errors import TaskInterrupted

T = TypeVar("T")


class ThreadInterrupts:
    """Which assignment runs on which thread. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[int, int] = {}
        self._early: dict[int, type[TaskInterrupted]] = {}
        """What is to be raised in runs that have not come here yet."""

    def run(
        self,
        assignment_id: int,
        body: Callable[[], T],
        too_late: Callable[[TaskInterrupted], T],
    ) -> T:
        """Call ``body`` on this thread, open to ``interrupt`` meanwhile.

        Where the limit struck beside the task (before it began, or when it had just ended) the
        answer is that of ``too_late``. Nothing strikes after the return.
        """
        try:
            self._open(assignment_id)
            try:
                return body()
            finally:
                self._close(assignment_id)
        except TaskInterrupted as limit:
            self._close(assignment_id)
            return too_late(limit)

    def interrupt(
        self, assignment_id: int, error: type[TaskInterrupted], *, opening: bool = False
    ) -> bool:
        """Raise this where the assignment runs; False when it does not.

        ``opening``: the caller knows that it is about to: it is raised then.
        """
        with self._lock:
            ident = self._threads.get(assignment_id)
            if ident is not None:
                if not interrupt_coroutine(ident, error()):
                    _raise_in(ident, error)
            elif opening:
                self._early[assignment_id] = error
            return ident is not None or opening

    def forget(self, assignment_id: int) -> None:
        """It will not come, or has ended."""
        if self._early:
            with self._lock:
                self._early.pop(assignment_id, None)

    def _open(self, assignment_id: int) -> None:
        with self._lock:
            self._threads[assignment_id] = threading.get_ident()
            early = self._early.pop(assignment_id, None) if self._early else None
        if early is not None:
            raise early

    def _close(self, assignment_id: int) -> None:
        with self._lock:
            ident = self._threads.pop(assignment_id, None)
            if ident is not None:
                _raise_in(ident, None)  # take back what was not delivered yet


def _raise_in(ident: int, error: type[BaseException] | None) -> None:
    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), what)
