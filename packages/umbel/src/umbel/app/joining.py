"""Whether waiting for a result is allowed here.

A task that waits for another task holds its slot meanwhile; when every slot waits, nothing runs and
the pool stands still for ever. So ``get`` asks here first, and is refused while a task runs that
came from a queue. Executors whose slots are cheap (threads, greenlets) lift that for their process
(``let_tasks_join``), as Celery does there; a program that knows better permits or denies it for a
block. Awaiting a result in a coroutine is not concerned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from umbel.app import context
from umbel.errors import JoinRefused

_denied: ContextVar[bool | None] = ContextVar("umbel.join_denied", default=None)
"""What a block said; None: no block did, and being in a task decides."""

_tasks_may_join = False


def task_join_will_block() -> bool:
    """Tell whether waiting is refused here."""
    denied = _denied.get()
    if denied is not None:
        return denied
    return not _tasks_may_join and context.worker_run() is not None


def assert_will_not_block() -> None:
    """Raise JoinRefused where waiting for a result could stop a pool."""
    if task_join_will_block():
        raise JoinRefused(
            "never wait for a result inside a task: the slot it holds may be the one that the "
            "other task needs, and then both stand still for ever. Chain the tasks instead, or, "
            "where there are surely free slots, use get(disable_sync_subtasks=False) or "
            "`with allow_join_result():`"
        )


def let_tasks_join(allowed: bool = True) -> None:
    """Say whether tasks of this process may wait for others: for executors, once at start."""
    global _tasks_may_join  # noqa: PLW0603 - a property of the process, as its pool is
    _tasks_may_join = allowed


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Permit ``get`` inside a task, for this block, on this thread or coroutine."""
    token = _denied.set(False)
    try:
        yield
    finally:
        _denied.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse ``get`` for this block, on this thread or coroutine."""
    token = _denied.set(True)
    try:
        yield
    finally:
        _denied.reset(token)
