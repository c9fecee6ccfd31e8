"""gevent and eventlet behind one small face: patch early, spawn, throw, join.

Used by ``loading`` (patching, before the app is imported) and by ``slots.green``.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from umbel.errors import ImproperlyConfigured


class GeventLibrary:
    """gevent."""

    def __init__(self) -> None:
        self._gevent = _import("gevent")

    def patch(self) -> None:
        """Make the standard library cooperative. Must come before the app is imported."""
        importlib.import_module("gevent.monkey").patch_all()

    def after_fork(self) -> None:
        """Give this process a hub of its own."""
        self._gevent.reinit()

    def spawn(self, body: Any, *args: Any) -> Any:
        return self._gevent.spawn(body, *args)

    def throw(self, greenlet: Any, error: BaseException) -> None:
        greenlet.kill(error, block=False)

    def switch(self) -> None:
        self._gevent.sleep(0)

    def join(self, greenlets: list[Any]) -> None:
        self._gevent.joinall(greenlets)


class EventletLibrary:
    """eventlet."""

    def __init__(self) -> None:
        self._eventlet = _import("eventlet")

    def patch(self) -> None:
        """Make the standard library cooperative. Must come before the app is imported."""
        self._eventlet.monkey_patch()

    def after_fork(self) -> None:
        """Give this process a hub of its own."""
        importlib.import_module("eventlet.hubs").use_hub()

    def spawn(self, body: Any, *args: Any) -> Any:
        return self._eventlet.spawn(body, *args)

    def throw(self, greenlet: Any, error: BaseException) -> None:
        greenlet.kill(error)

    def switch(self) -> None:
        self._eventlet.sleep(0)

    def join(self, greenlets: list[Any]) -> None:
        for greenlet in greenlets:
            with contextlib.suppress(BaseException):  # its own business; only its end matters
                greenlet.wait()


def green_library(pool: str) -> GeventLibrary | EventletLibrary:
    """Return the library of this pool. Raises ImproperlyConfigured when it is not installed."""
    return GeventLibrary() if pool == "gevent" else EventletLibrary()


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"The pool {name!r} needs the package {name}: pip install 'umbel[{name}]'."
        ) from error
