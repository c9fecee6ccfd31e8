"""``celery.app.task``: the class of tasks, and what a running one knows."""

from __future__ import annotations

from umbel.app.context import Context
from umbel.app.task import Task
from umbel.app.task import Task as BaseTask

__all__ = ["BaseTask", "Context", "Task"]
