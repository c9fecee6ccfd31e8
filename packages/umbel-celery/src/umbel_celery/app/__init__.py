"""``celery.app``: the app, and who the current one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.app import context
from umbel.app.celery_app import Celery
from umbel.app.current import app_or_default, get_current_app
from umbel.app.shared import Proxy, shared_task

if TYPE_CHECKING:
    from umbel.app.app import App

default_app: Any = Proxy(get_current_app)
"""The current app, as ``celery.current_app``."""


def bugreport(app: App | None = None) -> str:
    """Return versions and settings as text, secrets masked."""
    return app_or_default(app).bugreport()


def push_current_task(task: Any) -> None:
    """Make a task the current one, until ``pop_current_task``."""
    context.push(task, context.request_of(task) or context.Context(task=task.name))


def pop_current_task() -> Any:
    """End what ``push_current_task`` began; return the task."""
    running = context.current.get()
    context.pop()
    return None if running is None else running.task


def enable_trace() -> None:
    """Do nothing: in Celery it reports every use of an app that was not given as an argument."""


def disable_trace() -> None:
    """As ``enable_trace``."""


__all__ = [
    "Celery",
    "app_or_default",
    "bugreport",
    "default_app",
    "disable_trace",
    "enable_trace",
    "pop_current_task",
    "push_current_task",
    "shared_task",
]
