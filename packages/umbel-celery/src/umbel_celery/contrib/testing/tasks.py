"""``celery.contrib.testing.tasks``: the task by which a test asks whether a worker is there."""

from __future__ import annotations

from umbel.app.shared import shared_task


@shared_task(name="celery.ping")
def ping() -> str:
    """Answer ``pong``."""
    return "pong"


__all__ = ["ping"]
