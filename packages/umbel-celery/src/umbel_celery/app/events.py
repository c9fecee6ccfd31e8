"""``celery.app.events``: what ``app.events`` is."""

from __future__ import annotations

from umbel.app.events import Events

__all__ = ["Events"]
