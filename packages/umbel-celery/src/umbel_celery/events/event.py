"""``celery.events.event``: one event."""

from __future__ import annotations

from . import Event, group_from

__all__ = ["Event", "group_from"]
