"""``celery.states``: the states of a task, and the sets they are in."""

from __future__ import annotations

from umbel.model.outcome import (
    ALL_STATES,
    EXCEPTION_STATES,
    PROPAGATE_STATES,
    READY_STATES,
    UNREADY_STATES,
    TaskState,
)

__all__ = [
    "ALL_STATES",
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "PENDING",
    "PROPAGATE_STATES",
    "READY_STATES",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "UNREADY_STATES",
]

PENDING = TaskState.PENDING.value
RECEIVED = TaskState.RECEIVED.value
STARTED = TaskState.STARTED.value
SUCCESS = TaskState.SUCCESS.value
FAILURE = TaskState.FAILURE.value
REVOKED = TaskState.REVOKED.value
REJECTED = TaskState.REJECTED.value
RETRY = TaskState.RETRY.value
IGNORED = TaskState.IGNORED.value
