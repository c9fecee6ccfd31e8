"""``celery.contrib.testing.manager``: waiting for workers and results, for tests at length."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from umbel.errors import ResultTimeout

if TYPE_CHECKING:
    from umbel.app.app import App


class Sentinel(Exception):
    """Ends a test at length."""


class ManagerMixin:
    """Ways to wait."""

    app: App

    def _init_manager(self, block_timeout: float = 30 * 60.0, no_join: bool = False) -> None:
        self.block_timeout = block_timeout
        self.no_join = no_join

    def remark(self, s: str, sep: str = "-") -> None:
        """Print a line."""
        print(f"{sep}{s}")  # noqa: T201 - that is what it is for

    def wait_for(
        self,
        fun: Callable[[], Any],
        catch: Any,
        desc: str = "thing",
        args: Sequence[Any] = (),
        kwargs: Any = None,
        timeout: float = 30.0,
        interval: float = 0.1,
    ) -> Any:
        """Call until it raises none of ``catch``; return its answer. Raises AssertionError."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return fun(*args, **(kwargs or {}))
            except catch as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"Timed out waiting for {desc}") from error
                time.sleep(interval)

    def join(self, r: Any, propagate: bool = False, max_retries: int = 10, **kwargs: Any) -> Any:
        """Wait for a result, asking again after a timeout. Raises AssertionError."""
        for _ in range(max_retries):
            try:
                return r.get(propagate=propagate, **{"timeout": 10, **kwargs})
            except ResultTimeout:
                continue
        raise AssertionError(f"Test failed: no result of {r} after {max_retries} tries")

    def inspect(self, timeout: float = 3.0) -> Any:
        """Return what asks the workers."""
        return self.app.control.inspect(timeout=timeout)

    def is_accepted(self, ids: Sequence[str], interval: float = 0.5) -> bool:  # noqa: ARG002 - Celery's
        """Tell whether workers run all of these."""
        active = self.inspect().active() or {}
        running = {each["id"] for tasks in active.values() for each in tasks}
        return running >= set(ids)

    def assert_accepted(self, ids: Sequence[str], timeout: float = 30.0, **_: Any) -> None:
        """Wait until workers run all of these."""

        def look() -> None:
            if not self.is_accepted(ids):
                raise Sentinel

        self.wait_for(look, Sentinel, desc=f"tasks {list(ids)} to begin", timeout=timeout)


class Manager(ManagerMixin):
    """Ways to wait, for one app."""

    def __init__(self, app: App, **kwargs: Any) -> None:
        self.app = app
        self._init_manager(**kwargs)


__all__ = ["Manager", "ManagerMixin", "Sentinel"]
