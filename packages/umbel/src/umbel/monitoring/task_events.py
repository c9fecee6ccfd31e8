"""The events of tasks, as values that are made and written fast: several for every run.

Made by ``worker.observing``, kept by ``emitter``, written by ``wire.event_message``. What they
cost ``benchmarks/decisions/events_cost.py`` measures.
The fields have Celery's names; ``clock`` is filled in when they are taken to be sent.
"""

from __future__ import annotations

from typing import Any

import msgspec


class TaskEvent(msgspec.Struct, tag_field="type", tag="task-event"):
    """What every event of a task tells. ``timestamp``: Unix seconds."""

    hostname: str
    pid: int
    clock: int
    timestamp: float
    uuid: str


class Received(TaskEvent, tag="task-received"):
    name: str
    args: Any
    kwargs: Any
    root_id: str | None
    parent_id: str | None
    retries: int
    eta: str | None
    expires: str | None


class Started(TaskEvent, tag="task-started"):
    pass


class Succeeded(TaskEvent, tag="task-succeeded"):
    result: str | None
    runtime: float


class Failed(TaskEvent, tag="task-failed"):
    exception: str | None
    traceback: str | None


class Retried(TaskEvent, tag="task-retried"):
    exception: str | None
    traceback: str | None


class Rejected(TaskEvent, tag="task-rejected"):
    requeue: bool


class Cancelled(TaskEvent, tag="task-cancelled"):
    pass


class Revoked(TaskEvent, tag="task-revoked"):
    terminated: bool
    signum: int | None
    expired: bool
