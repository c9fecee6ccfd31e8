"""``celery.exceptions``: the same classes as in ``umbel.errors``, under Celery's names."""

from __future__ import annotations

from umbel.errors import (
    AlreadyRegistered,
    AlwaysEagerIgnored,
    BackendGetMetaError,
    ChordError,
    DuplicateTaskNameWarning,
    Ignore,
    ImproperlyConfigured,
    IncompleteStream,
    MaxRetriesExceededError,
    NotRegistered,
    OperationalError,
    QueueNotFound,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskError,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from umbel.errors import BackendUnavailable as BackendError
from umbel.errors import BackendUnavailable as BackendStoreError
from umbel.errors import DecodeError as InvalidTaskError
from umbel.errors import ResultTimeout as TimeoutError  # noqa: A004 - Celery's name for it
from umbel.errors import TaskDirective as TaskPredicate
from umbel.errors import TaskRevokedError as Terminated
from umbel.errors import UmbelError as CeleryError
from umbel.errors import UmbelWarning as CeleryWarning

__all__ = [
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "DuplicateTaskNameWarning",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]
