"""Umbel: a distributed task queue with Celery's API and messages, on a new engine.

    from umbel import Umbel

    app = Umbel("shop", broker="redis://localhost")

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    add.delay(2, 3).get()

The public names, each loaded when it is first used: ``import umbel`` alone takes a millisecond, and
a process that needs one room of the house (the supervisor of a worker, a command) does not load the
others. Nothing inside the house imports from here.
"""

from __future__ import annotations

from importlib import import_module

from umbel.version import __version__ as __version__

TYPE_CHECKING = False
"""Type checkers take it for true; importing it from typing would take seven milliseconds."""
if TYPE_CHECKING:
    from typing import Any

    from umbel.app.app import App as Umbel
    from umbel.app.context import Context as Context
    from umbel.app.eager_results import EagerResult as EagerResult
    from umbel.app.group_results import GroupResult as GroupResult
    from umbel.app.handles import AsyncResult as AsyncResult
    from umbel.app.joining import allow_join_result as allow_join_result
    from umbel.app.result_sets import ResultSet as ResultSet
    from umbel.app.shared import current_app as current_app
    from umbel.app.shared import current_task as current_task
    from umbel.app.shared import shared_task as shared_task
    from umbel.app.task import Task as Task
    from umbel.errors import Ignore as Ignore
    from umbel.errors import MaxRetriesExceededError as MaxRetriesExceededError
    from umbel.errors import OperationalError as OperationalError
    from umbel.errors import Reject as Reject
    from umbel.errors import ResultTimeout as ResultTimeout
    from umbel.errors import Retry as Retry
    from umbel.errors import SoftTimeLimitExceeded as SoftTimeLimitExceeded
    from umbel.errors import UmbelError as UmbelError
    from umbel.model.queues import Queue as Queue
    from umbel.ports import Middleware as Middleware
    from umbel.workflows.canvas import chain as chain
    from umbel.workflows.canvas import chord as chord
    from umbel.workflows.canvas import chunks as chunks
    from umbel.workflows.canvas import group as group
    from umbel.workflows.signature import Signature as Signature
    from umbel.workflows.signature import signature as signature

__all__ = [
    "AsyncResult",
    "Context",
    "EagerResult",
    "GroupResult",
    "Ignore",
    "MaxRetriesExceededError",
    "Middleware",
    "OperationalError",
    "Queue",
    "Reject",
    "ResultSet",
    "ResultTimeout",
    "Retry",
    "Signature",
    "SoftTimeLimitExceeded",
    "Task",
    "Umbel",
    "UmbelError",
    "__version__",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "shared_task",
    "signature",
]

_HOMES = {
    "AsyncResult": "umbel.app.handles",
    "Context": "umbel.app.context",
    "EagerResult": "umbel.app.eager_results",
    "GroupResult": "umbel.app.group_results",
    "Ignore": "umbel.errors",
    "MaxRetriesExceededError": "umbel.errors",
    "Middleware": "umbel.ports",
    "OperationalError": "umbel.errors",
    "Queue": "umbel.model.queues",
    "Reject": "umbel.errors",
    "ResultSet": "umbel.app.result_sets",
    "ResultTimeout": "umbel.errors",
    "Retry": "umbel.errors",
    "Signature": "umbel.workflows.signature",
    "SoftTimeLimitExceeded": "umbel.errors",
    "Task": "umbel.app.task",
    "Umbel": "umbel.app.app",
    "UmbelError": "umbel.errors",
    "allow_join_result": "umbel.app.joining",
    "chain": "umbel.workflows.canvas",
    "chord": "umbel.workflows.canvas",
    "chunks": "umbel.workflows.canvas",
    "current_app": "umbel.app.shared",
    "current_task": "umbel.app.shared",
    "group": "umbel.workflows.canvas",
    "shared_task": "umbel.app.shared",
    "signature": "umbel.workflows.signature",
}
"""Name to the module that has it."""

_OTHER_NAMES = {"Umbel": "App"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'umbel' has no attribute {name!r}")
    found = getattr(import_module(home), _OTHER_NAMES.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
