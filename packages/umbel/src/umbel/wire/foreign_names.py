"""Which class of Celery's, kombu's or billiard's means the same as one of ours, by name.

The names are what travels: in result documents (``portable_errors``) and in pickles
(``pickling``). No foreign package is ever imported.
"""

from __future__ import annotations

from umbel import errors

FOREIGN_PACKAGES = frozenset({"celery", "kombu", "billiard"})

_CELERY: dict[str, type[BaseException]] = {
    "TaskRevokedError": errors.TaskRevokedError,
    "NotRegistered": errors.NotRegistered,
    "AlreadyRegistered": errors.AlreadyRegistered,
    "MaxRetriesExceededError": errors.MaxRetriesExceededError,
    "Reject": errors.Reject,
    "Ignore": errors.Ignore,
    "Retry": errors.Retry,
    "ChordError": errors.ChordError,
    "IncompleteStream": errors.IncompleteStream,
    "BackendGetMetaError": errors.BackendGetMetaError,
    "ImproperlyConfigured": errors.ImproperlyConfigured,
    "QueueNotFound": errors.QueueNotFound,
    "TimeoutError": errors.ResultTimeout,
    "OperationalError": errors.OperationalError,
    "TaskError": errors.TaskError,
}
_BILLIARD: dict[str, type[BaseException]] = {
    "WorkerLostError": errors.WorkerLostError,
    "TimeLimitExceeded": errors.TimeLimitExceeded,
    "SoftTimeLimitExceeded": errors.SoftTimeLimitExceeded,
}
_KOMBU: dict[str, type[BaseException]] = {
    "ContentDisallowed": errors.ContentDisallowed,
    "DecodeError": errors.DecodeError,
    "EncodeError": errors.EncodeError,
    "OperationalError": errors.OperationalError,
}

# Later entries win in the way back: OperationalError is written as kombu's, where it is defined.
_READ: dict[tuple[str, str], type[BaseException]] = {
    **{("celery.exceptions", name): kind for name, kind in _CELERY.items()},
    **{("celery.exceptions", name): kind for name, kind in _BILLIARD.items()},
    **{("billiard.exceptions", name): kind for name, kind in _BILLIARD.items()},
    **{("kombu.exceptions", name): kind for name, kind in _KOMBU.items()},
}
_WRITE: dict[type[BaseException], tuple[str, str]] = {kind: name for name, kind in _READ.items()}


def error_class(module: str, name: str) -> type[BaseException] | None:
    """Return our class for a foreign module and class name."""
    return _READ.get((module, name))


def foreign_name(kind: type[BaseException]) -> tuple[str, str] | None:
    """Return module and class name that Celery's clients know for one of our classes."""
    return _WRITE.get(kind)
