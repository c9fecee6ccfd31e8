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
    "precedence",
    "state",
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

_ORDER = (
    "SUCCESS",
    "FAILURE",
    None,
    "REVOKED",
    "STARTED",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "PENDING",
)
NONE_PRECEDENCE = _ORDER.index(None)
"""Where states of your own stand among the others."""


def precedence(state: str | None) -> int:
    """Return a state's place in the order of states: the lower, the later in a task's life."""
    return _ORDER.index(state) if state in _ORDER else NONE_PRECEDENCE


class state(str):  # noqa: N801 - Celery's name
    """A state that can be compared: the later in a task's life, the greater."""

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
