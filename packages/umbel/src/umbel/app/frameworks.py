"""What an app does by itself for the framework that it finds itself in.

Called when an app is made. A framework's own code lies on a floor above (``umbel.integrations``),
so it is found by its name, as task classes and routers are.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.routing import symbol

if TYPE_CHECKING:
    from umbel.app.app import App

DJANGO = "umbel.integrations.django"


def in_django() -> bool:
    """Tell whether the program is a Django project: its settings are named, Django is installed."""
    return bool(os.environ.get("DJANGO_SETTINGS_MODULE")) and bool(
        importlib.util.find_spec("django")
    )


def automatic() -> Sequence[Callable[[App], Any]]:
    """Return what is to be called with every app."""
    return (symbol(f"{DJANGO}.fixup:install", "fixups"),) if in_django() else ()


def task_class(given: Any, usual: Any) -> Any:
    """Return the base class of an app's tasks: ``usual``, unless another is given or wanted here.

    ``usual`` is Umbel's own; in a Django project it is one that knows Django's transactions.
    """
    if given is not None or not in_django():
        return given or usual
    return f"{DJANGO}.django_task:DjangoTask"
