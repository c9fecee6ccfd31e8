"""``celery.contrib.testing.tasks``: the task by which a test asks whether a worker is there."""

from __future__ import annotations

from umbel.app.shared import shared_task


def _ping() -> str:
    """Answer ``pong``."""
    return "pong"


_ping.__module__ = "celery.contrib.testing.tasks"  # one task, under whichever name this is loaded
ping = shared_task(name="celery.ping")(_ping)

__all__ = ["ping"]
