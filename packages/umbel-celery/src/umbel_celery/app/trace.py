"""``celery.app.trace``: where instrumentation stands around the runs of tasks.

Assigning another ``build_tracer`` here has every run go through the tracers that it makes
(``umbel.app.tracers``). The words of the log lines are Umbel's own; the constants are only here
to be looked at.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from umbel.app import tracers
from umbel.app.task import Task
from umbel_celery.states import FAILURE, IGNORED, REJECTED, RETRY, SUCCESS

LOG_RECEIVED = "Task %(name)s[%(id)s] received"
LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
LOG_FAILURE = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_INTERNAL_ERROR = LOG_FAILURE
LOG_IGNORED = "Task %(name)s[%(id)s] %(description)s"
LOG_REJECTED = "Task %(name)s[%(id)s] %(exc)s"
LOG_RETRY = "Task %(name)s[%(id)s] retry: %(exc)s"


class TraceInfo:
    """How a run ended: its state, and what it returned or raised."""

    __slots__ = ("retval", "state")

    def __init__(self, state: str, retval: Any = None) -> None:
        self.state, self.retval = state, retval


def task_has_custom(task: Any, attr: str) -> bool:
    """Tell whether the class of a task overrides an attribute of ``Task``."""
    return getattr(type(task), attr, None) is not getattr(Task, attr, None)


def build_tracer(name: str, task: Any, *_: Any, **__: Any) -> tracers.Tracer:  # noqa: ARG001 - Celery's
    """Return the function that runs a task, to be wrapped by what replaces this one."""
    return tracers.plain_tracer(task)


def trace_task(
    task: Any, uuid: str, args: Any, kwargs: Any, request: Any = None, **_: Any
) -> TraceInfo:
    """Run a task here, eagerly, under this id; tell how it ended."""
    given = {"task_id": uuid}
    retries = (request or {}).get("retries")
    if retries:
        given["retries"] = retries
    result = task.apply(args, kwargs, **given)
    return TraceInfo(result.state, result.result)


def setup_worker_optimizations(app: Any, hostname: str | None = None) -> None:
    """Do nothing: Umbel needs no preparation."""


def reset_worker_optimizations(app: Any = None) -> None:
    """As ``setup_worker_optimizations``."""


_plain = build_tracer


class _TraceModule(ModuleType):
    """This module, telling the seam when its ``build_tracer`` is replaced."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "build_tracer":
            tracers.use(None if value is _plain else value)


sys.modules[__name__].__class__ = _TraceModule

__all__ = [
    "FAILURE",
    "IGNORED",
    "LOG_FAILURE",
    "LOG_IGNORED",
    "LOG_INTERNAL_ERROR",
    "LOG_RECEIVED",
    "LOG_REJECTED",
    "LOG_RETRY",
    "LOG_SUCCESS",
    "REJECTED",
    "RETRY",
    "SUCCESS",
    "TraceInfo",
    "build_tracer",
    "reset_worker_optimizations",
    "setup_worker_optimizations",
    "task_has_custom",
    "trace_task",
]
