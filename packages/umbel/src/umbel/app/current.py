"""Which app is the current one, and what apps share: the state behind ``current_app``.

Apps enter themselves here; ``shared`` reads it. It knows nothing about what an app is.

The current app is the one that was made current in this context (thread, coroutine), else the one
made current last anywhere in the process. Differs from Celery, where other threads silently get an
app of their own that talks to a RabbitMQ on localhost.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from umbel.app.app import App

    Construct: TypeAlias = Callable[[App], object]
    """Makes a task on an app."""

_here: ContextVar[App | None] = ContextVar("umbel.app", default=None)


class _Process:
    """What all apps of the process share. Guarded by ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.latest: App | None = None
        self.default: App | None = None
        self.make_default: Callable[[], App] | None = None
        self.apps: weakref.WeakSet[App] = weakref.WeakSet()
        self.shared: list[Construct] = []
        self.lent: list[tuple[weakref.ref[App], Construct]] = []


_process = _Process()


def enter(app: App) -> None:
    """Note that this app exists, so that tasks shared later reach it."""
    with _process.lock:
        _process.apps.add(app)


def leave(app: App) -> None:
    """Forget an app that was closed; if it was the current one there is none now."""
    with _process.lock:
        _process.apps.discard(app)
        _process.lent = [one for one in _process.lent if one[0]() is not app]
        if _process.latest is app:
            _process.latest = None
        if _process.default is app:
            _process.default = None
    if _here.get() is app:
        _here.set(None)


def make_current(app: App | None) -> None:
    """Make this app the current one, here and wherever no other one was made current."""
    _here.set(app)
    with _process.lock:
        _process.latest = app


def make_default(app: App | None) -> None:
    """Make this the app of programs that have made none current."""
    with _process.lock:
        _process.default = app


def set_default_factory(factory: Callable[[], App]) -> None:
    """Say how the app is made that stands in when a program uses one without having made one."""
    _process.make_default = factory


def get_current_app() -> App:
    """Return the current app; make a default one when the program has none.

    Raises RuntimeError instead of making one when the environment has ``C_STRICT_APP``.
    """
    app = _here.get() or _process.latest or _process.default
    return app if app is not None else _make_default()


def app_or_default(app: App | None = None) -> App:
    """Return the app, or the current one where None is given."""
    return get_current_app() if app is None else app


def current_or_none() -> App | None:
    """Return the current app if the program has made one."""
    return _here.get() or _process.latest or _process.default


def _make_default() -> App:
    if os.environ.get("C_STRICT_APP"):
        raise RuntimeError(
            "There is no current app, and C_STRICT_APP forbids making one: create the app, or "
            "import the module that does, before using tasks."
        )
    with _process.lock:
        if _process.default is None:
            assert _process.make_default is not None
            _process.default = _process.make_default()
        return _process.default


# --- tasks that belong to every app ---------------------------------------------------------------


def share(construct: Construct) -> None:
    """Have this task constructed by every app: finalized ones now, others when they are."""
    with _process.lock:
        _process.shared.append(construct)
        finalized = [app for app in _process.apps if app.finalized]
    for app in finalized:
        construct(app)


def lend(owner: App, construct: Construct) -> None:
    """Have a task of one app constructed by apps that are finalized later, as long as it lives."""
    with _process.lock:
        _process.lent = [one for one in _process.lent if one[0]() is not None]
        _process.lent.append((weakref.ref(owner), construct))


def shared_constructors(app: App) -> list[Construct]:
    """Return what this app constructs when it is finalized."""
    with _process.lock:
        lent = [construct for owner, construct in _process.lent if owner() not in (None, app)]
        return [*_process.shared, *lent]


def apps() -> list[App]:
    """Return every app that is alive."""
    return list(_process.apps)


def renew_lock() -> None:
    """Make the lock anew, in a forked child: whoever held it is not there."""
    _process.lock = threading.RLock()
