"""``celery.app.log``: setting logging up, and the formatter of tasks' log lines."""

from __future__ import annotations

from umbel.app.log_records import TaskFormatter
from umbel.app.log_setup import AppLogging as Logging

__all__ = ["Logging", "TaskFormatter"]
