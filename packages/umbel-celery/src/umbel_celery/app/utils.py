"""``celery.app.utils``: finding an app by its name, and showing settings."""

from __future__ import annotations

from typing import Any

from umbel.app.app import App
from umbel.app.finding import find_app as find_named
from umbel.config.conf import Conf as Settings
from umbel.config.urls import censored

from . import bugreport


def find_app(app: Any, *_: Any, **__: Any) -> App:
    """Return the app that ``module``, ``module:attribute`` or an app itself means.

    Raises ImproperlyConfigured where there is none.
    """
    return app if isinstance(app, App) else find_named(str(app))


def appstr(app: App) -> str:
    """Return the app's name, for people."""
    return f"{app.main or '__main__'}:{id(app):#x}"


def sanitize_url(url: str, mask: str = "********") -> str:  # noqa: ARG001 - Celery's signature
    """Return the URL with its password masked."""
    return censored(url)


__all__ = ["Settings", "appstr", "bugreport", "find_app", "sanitize_url"]
