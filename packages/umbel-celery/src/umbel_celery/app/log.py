"""``celery.app.log``: the formatter of tasks' log lines."""

from __future__ import annotations

from umbel.app.log_records import TaskFormatter

__all__ = ["TaskFormatter"]
