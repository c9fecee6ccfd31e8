"""``celery.execute``: sending by the current app."""

from __future__ import annotations

from typing import Any

from umbel.app.current import get_current_app


def send_task(name: str, *args: Any, **kwargs: Any) -> Any:
    """Send a task by its name; as ``app.send_task``."""
    return get_current_app().send_task(name, *args, **kwargs)


__all__ = ["send_task"]
