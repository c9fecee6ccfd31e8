"""``celery.events.dispatcher``: telling events."""

from __future__ import annotations

from . import EventDispatcher

__all__ = ["EventDispatcher"]
