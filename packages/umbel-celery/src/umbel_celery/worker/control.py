"""``celery.worker.control``: commands of your own for remote control.

They are called with the worker's face (``app``, ``hostname``), in the process that imports the app.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from umbel.control.custom_commands import REGISTRY, control_command, inspect_command


class Panel:
    """The commands of this process, as Celery's mapping of them is asked."""

    @staticmethod
    def register(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Register a function as a command; also a decorator with options.

        ``type`` is ``control`` (the default) or ``inspect``.
        """
        kind = kwargs.pop("type", "control")
        decorate: Any = inspect_command if kind == "inspect" else control_command
        made: Callable[..., Any] = decorate(*args, **kwargs)
        return made

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the commands."""
        return REGISTRY.names()


__all__ = ["Panel", "control_command", "inspect_command"]
