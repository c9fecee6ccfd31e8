"""Umbel under Celery's names: what ``import celery`` gives where umbel-celery is installed.

Nothing here but re-exports; ``umbel_celery_finder`` has the import system load it as ``celery``.
"""

from __future__ import annotations

from typing import NoReturn

from umbel.app.celery_app import Celery
from umbel.app.send_plan import new_id as uuid
from umbel.app.shared import current_app, current_task, shared_task
from umbel.app.task import Task
from umbel.workflows.signature import Signature, maybe_signature, signature

from . import app, canvas, exceptions, result, signals, states, utils
from .absent import refuse_canvas
from .version import SERIES, VERSION, VERSION_BANNER, __version__, version_info

__all__ = [
    "SERIES",
    "VERSION",
    "VERSION_BANNER",
    "Celery",
    "Signature",
    "Task",
    "__version__",
    "app",
    "canvas",
    "current_app",
    "current_task",
    "exceptions",
    "maybe_signature",
    "result",
    "shared_task",
    "signals",
    "signature",
    "states",
    "utils",
    "uuid",
    "version_info",
]


def __getattr__(name: str) -> NoReturn:
    refuse_canvas(name, __name__)
