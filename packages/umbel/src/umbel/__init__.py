"""Umbel: a distributed task queue with Celery's API and messages, on a new engine.

    from umbel import Umbel

    app = Umbel("shop", broker="redis://localhost")

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    add.delay(2, 3).get()

The public names. Nothing inside the house imports from here.
"""

from __future__ import annotations

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
from umbel.version import __version__ as __version__
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
    "current_app",
    "current_task",
    "shared_task",
    "signature",
]
