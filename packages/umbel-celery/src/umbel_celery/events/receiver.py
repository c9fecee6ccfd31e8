"""``celery.events.receiver``: hearing events."""

from __future__ import annotations

from . import EventReceiver

__all__ = ["EventReceiver"]
