"""``celery.app.registry``: the mapping of names to tasks."""

from __future__ import annotations

from umbel.app.registry import TaskRegistry
from umbel.errors import NotRegistered

__all__ = ["NotRegistered", "TaskRegistry"]
