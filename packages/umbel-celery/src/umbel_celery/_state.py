"""``celery._state``: the current app and task, as libraries ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from umbel.app import context
from umbel.app.current import app_or_default, get_current_app
from umbel.app.current import make_current as _set_current_app
from umbel.app.current import make_default as set_default_app
from umbel.app.current import share as _share
from umbel.app.joining import let_tasks_join, task_join_will_block
from umbel.app.shared import current_app, current_task

if TYPE_CHECKING:
    from umbel.app.app import App


def get_current_task() -> Any:
    """Return the task running here, or None."""
    running = context.current.get()
    return None if running is None else running.task


def get_current_worker_task() -> Any:
    """Return the task that a worker runs here, or None; plain and eager calls do not count."""
    running = context.worker_run()
    return None if running is None else running.task


def connect_on_app_finalize(callback: Callable[[App], Any]) -> Callable[[App], Any]:
    """Have this called with every app, when it is finalized or, if it is already, now."""
    _share(callback)
    return callback


def _set_task_join_will_block(blocks: bool) -> None:
    let_tasks_join(not blocks)


class _TaskStack:
    """What runs here, innermost last, as libraries look at it."""

    @property
    def top(self) -> Any:
        """The task that runs here, or None."""
        return get_current_task()

    def push(self, task: Any) -> None:
        """Make a task the current one."""
        context.push(task, context.request_of(task) or context.Context(task=task.name))

    def pop(self) -> Any:
        """End what ``push`` began; return the task."""
        task = get_current_task()
        context.pop()
        return task


_task_stack = _TaskStack()

__all__ = [
    "_set_current_app",
    "_set_task_join_will_block",
    "_task_stack",
    "app_or_default",
    "connect_on_app_finalize",
    "current_app",
    "current_task",
    "get_current_app",
    "get_current_task",
    "get_current_worker_task",
    "set_default_app",
    "task_join_will_block",
]
