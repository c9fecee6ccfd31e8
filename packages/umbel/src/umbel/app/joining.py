"""Whether waiting for a result is allowed here.

A task that waits for another task holds its slot meanwhile; when every slot waits, nothing runs and
the pool stands still for ever. So the worker denies it around each run in a pool with few slots
(``denied_join_result``), ``get`` asks (``assert_will_not_block``), and a program that knows better
permits it (``allow_join_result``). Awaiting a result in a coroutine is not concerned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from umbel.errors import JoinRefused

_denied: ContextVar[bool] = ContextVar("umbel.join_denied", default=False)


def assert_will_not_block() -> None:
    """Raise JoinRefused where waiting for a result could stop a pool."""
    if _denied.get():
        raise JoinRefused(
            "never wait for a result inside a task: the slot it holds may be the one that the "
            "other task needs, and then both stand still for ever. Chain the tasks instead, or, "
            "where there are surely free slots, use get(disable_sync_subtasks=False) or "
            "`with allow_join_result():`"
        )


def deny_joins(denied: bool = True) -> None:
    """Deny (or permit) waiting in this context from now on: for executors, once at start."""
    _denied.set(denied)


def task_join_will_block() -> bool:
    """Tell whether waiting is denied here."""
    return _denied.get()


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
