"""What an app does by itself for the framework that it finds itself in.

Called when an app is made. A framework's own code lies on a floor above (``umbel.integrations``),
so it is found by its name, as routers are.
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


def automatic() -> Sequence[Callable[[App], Any]]:
    """Return what is to be called with every app."""
    # A Django project: its settings are named, and Django is installed.
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or not importlib.util.find_spec("django"):
        return ()
    return (symbol(f"{DJANGO}.fixup:install", "fixups"),)
