"""``celery._state``: the current app and task, as libraries ask for them."""

from __future__ import annotations

from umbel.app.current import app_or_default, get_current_app
from umbel.app.current import make_default as set_default_app
from umbel.app.joining import task_join_will_block
from umbel.app.shared import current_app, current_task

__all__ = [
    "app_or_default",
    "current_app",
    "current_task",
    "get_current_app",
    "set_default_app",
    "task_join_will_block",
]
