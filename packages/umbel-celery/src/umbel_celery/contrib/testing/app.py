"""``celery.contrib.testing.app``: apps for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from umbel.app import current
from umbel.app.celery_app import Celery
from umbel.app.log_setup import AppLogging as UnitLogging

if TYPE_CHECKING:
    from umbel.app.app import App

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_url": "memory://",
    "result_backend": "memory://",
}


class Trap:
    """Stands for the current app where a test must not use one: every use is an error."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            f"The test uses the current app ({name}), and was to use its own: give it the app."
        )


def TestApp(  # noqa: N802 - Celery's name
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    enable_logging: bool = False,  # noqa: ARG001 - the test's own logging is left alone
    set_as_current: bool = False,
    **kwargs: Any,
) -> Celery:
    """Return an app on a store in memory."""
    app = Celery(name or "celery.tests", set_as_current=set_as_current, **kwargs)
    app.add_defaults({**DEFAULT_TEST_CONFIG, **(config or {})})
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]  # pytest looks for it


@contextmanager
def set_trap(app: App) -> Iterator[None]:  # noqa: ARG001 - Celery's
    """Have every use of the current app in this block be an error."""
    before = current.current_or_none()
    current.make_current(Trap())  # type: ignore[arg-type]  # it stands for none
    try:
        yield
    finally:
        current.make_current(before)


@contextmanager
def setup_default_app(app: App, use_trap: bool = False) -> Iterator[None]:
    """Have this app be the default one in this block; with ``use_trap`` no app is current."""
    before = current.current_or_none()
    app.set_default()
    try:
        if use_trap:
            with set_trap(app):
                yield
        else:
            current.make_current(app)
            yield
    finally:
        current.make_default(None)
        current.make_current(before)


__all__ = ["DEFAULT_TEST_CONFIG", "TestApp", "Trap", "UnitLogging", "set_trap", "setup_default_app"]
