"""How one run of a task ended: exactly one of these, each carrying only what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec


class TaskState(StrEnum):
    """The states a result store may hold. The values are Celery's, byte for byte."""

    PENDING = "PENDING"
    RECEIVED = "RECEIVED"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    REJECTED = "REJECTED"
    IGNORED = "IGNORED"


READY_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""A task in one of these will not change again."""
EXCEPTION_STATES = frozenset({"RETRY", "FAILURE", "REVOKED"})
"""The stored result is an encoded exception."""
PROPAGATE_STATES = frozenset({"FAILURE", "REVOKED"})
"""``get()`` raises."""
UNREADY_STATES = frozenset({"PENDING", "RECEIVED", "STARTED", "REJECTED", "RETRY"})
ALL_STATES = frozenset({"PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"})


class Succeeded(msgspec.Struct, frozen=True):
    value: Any


class Failed(msgspec.Struct, frozen=True):
    error: BaseException
    traceback: str | None


class Retried(msgspec.Struct, frozen=True):
    """The task asked to run again. ``message`` is the retry to send, with the same id."""

    error: BaseException | None
    """What the task failed with, or None when it just asked."""
    traceback: str | None
    again_at: datetime | None
    message: Any
    """An ``Outgoing``: the retry, encoded, to be sent with the settlement."""
    why: str = ""
    """When it runs again and what it failed with, for a log line."""


class Ignored(msgspec.Struct, frozen=True):
    """Acknowledge, leave the stored state as it is.

    ``message``: what takes the task's place (``Task.replace``), an ``Outgoing``, or None.
    """

    message: Any = None


class Rejected(msgspec.Struct, frozen=True):
    error: BaseException
    traceback: str | None
    requeue: bool


Outcome: TypeAlias = Succeeded | Failed | Retried | Ignored | Rejected


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a result store keeps for one task id.

    ``document`` is the encoded result document (``wire.result_meta``); stores never open it.
    ``expires`` is its life in seconds, None for ever. ``final``: no later state may replace it.
    """

    task_id: str
    state: str
    document: bytes
    final: bool
    expires: float | None = None
    reply_to: str | None = None
    """Where who sent the task waits; only stores that send results somewhere need it."""


ResultDocument: TypeAlias = Mapping[str, Any]
"""A decoded result document: status, result, traceback, children, date_done, task_id, and more."""
