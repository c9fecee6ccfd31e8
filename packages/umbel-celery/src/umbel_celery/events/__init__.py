"""``celery.events``: what workers and tasks tell."""

from __future__ import annotations

import time
from typing import Any

from umbel.app.events import EventDispatcher
from umbel.monitoring.receiver import EventReceiver


def Event(type: str, _fields: Any = None, **fields: Any) -> dict[str, Any]:  # noqa: A002, N802 - Celery's names
    """Return an event as a mapping, its time filled in."""
    event = {**(_fields or {}), **fields, "type": type}
    event.setdefault("timestamp", time.time())
    return event


def group_from(type: str) -> str:  # noqa: A002 - Celery's name
    """Return the first word of an event's type: ``task`` or ``worker``."""
    return type.partition("-")[0]


__all__ = ["Event", "EventDispatcher", "EventReceiver", "group_from"]
