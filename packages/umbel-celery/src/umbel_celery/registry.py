"""``celery.registry``: the tasks of the current app."""

from __future__ import annotations

from typing import Any

from umbel.app.current import get_current_app
from umbel.app.shared import Proxy

tasks: Any = Proxy(lambda: get_current_app().tasks)
"""Its names and tasks."""

__all__ = ["tasks"]
