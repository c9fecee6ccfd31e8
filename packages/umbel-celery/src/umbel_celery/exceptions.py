"""``celery.exceptions``: the same classes as in ``umbel.errors``, under Celery's names."""

from __future__ import annotations

from types import TracebackType

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
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from umbel.errors import BackendUnavailable as BackendError
from umbel.errors import BackendUnavailable as BackendStoreError
from umbel.errors import DecodeError as InvalidTaskError
from umbel.errors import ResultTimeout as TimeoutError  # noqa: A004 - Celery's name for it
from umbel.errors import TaskDirective as TaskPredicate
from umbel.errors import UmbelError as CeleryError
from umbel.errors import UmbelWarning as CeleryWarning


class SecurityError(CeleryError):
    """A signed message is not what it claims to be. Umbel does not sign messages yet."""


class WorkerShutdown(SystemExit):
    """Ends the process it is raised in. Umbel itself never raises it: it stops by signals."""


class WorkerTerminate(SystemExit):
    """As ``WorkerShutdown``."""


class NotConfigured(CeleryWarning):
    """Celery's warning that there is no configuration; Umbel gives no such warning."""


class DuplicateNodenameWarning(CeleryWarning):
    """Celery's warning of two workers with one name; Umbel gives no such warning."""


class FixupWarning(CeleryWarning):
    """Celery's warning of its fixups; Umbel gives no such warning."""


class SecurityWarning(CeleryWarning):
    """Celery's warning of an unsafe configuration; Umbel gives no such warning."""


class CDeprecationWarning(DeprecationWarning):
    """Celery's own deprecations; Umbel gives no such warning."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Celery's own deprecations to come; Umbel gives no such warning."""


def reraise(
    tp: type[BaseException],  # noqa: ARG001 - Celery's signature
    value: BaseException,
    tb: TracebackType | None = None,
) -> None:
    """Raise an exception with this traceback."""
    raise value.with_traceback(tb) if value.__traceback__ is not tb else value


__all__ = [
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "FixupWarning",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotConfigured",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SecurityError",
    "SecurityWarning",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
    "reraise",
]
