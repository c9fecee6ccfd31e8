"""``celery.utils.log``: loggers for tasks."""

from __future__ import annotations

from umbel.app.log_records import (
    LEVEL_NUMBERS as LOG_LEVELS,
)
from umbel.app.log_records import (
    ColorFormatter,
    LoggingProxy,
    base_logger,
    get_logger,
    get_task_logger,
    task_logger,
    worker_logger,
)
from umbel.app.log_records import level_number as mlevel

__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "base_logger",
    "get_logger",
    "get_task_logger",
    "mlevel",
    "task_logger",
    "worker_logger",
]
