"""Umbel under Celery's names: what ``import celery`` gives where umbel-celery is installed.

Nothing here but re-exports; ``umbel_celery_finder`` has the import system load it as ``celery``.
"""

from __future__ import annotations

from umbel.app.celery_app import Celery
from umbel.app.send_plan import new_id as uuid
from umbel.app.shared import current_app, current_task, shared_task
from umbel.app.task import Task
from umbel.workflows.canvas import chain, chord, chunks, group, xmap, xstarmap
from umbel.workflows.signature import Signature, maybe_signature, signature

from . import app, canvas, exceptions, result, signals, states, utils
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
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "exceptions",
    "group",
    "maybe_signature",
    "result",
    "shared_task",
    "signals",
    "signature",
    "states",
    "utils",
    "uuid",
    "version_info",
    "xmap",
    "xstarmap",
]
