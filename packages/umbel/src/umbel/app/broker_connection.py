"""``app.connection_for_write()``: asking whether the broker is there, in Celery's words.

Programs written for Celery open a connection to see that the broker can be reached, in a health
check or before they start. That works here. What goes through such a connection in Celery
(channels, producers, consumers) does not: messages are sent by tasks and by ``send_task``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from umbel.config.urls import censored
from umbel.errors import DriverError, OperationalError
from umbel.ports import Broker


class BrokerConnection:
    """The app's own connection to its broker. Closing it leaves that one as it is."""

    connection_errors: tuple[type[Exception], ...] = (OperationalError,)
    """What is raised while the broker cannot be reached."""

    def __init__(self, broker: Callable[[], Broker], url: str) -> None:
        self._broker = broker
        self._url = url

    def connect(self) -> Self:
        """Reach the broker once. Raises OperationalError."""
        self._broker().ping()
        return self

    def ensure_connection(
        self,
        errback: Callable[[Exception, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float = 2,
        interval_step: float = 2,
        interval_max: float = 30,
        callback: Callable[[], object] | None = None,  # noqa: ARG002 - Celery's; it waits in place
        timeout: float | None = None,
        **_: Any,
    ) -> Self:
        """Reach the broker, however long it takes, or so many retries, or ``timeout`` seconds.

        Between two tries it sleeps ``interval_start`` seconds, then ``interval_step`` longer each
        time up to ``interval_max``. ``errback`` gets each error and the seconds until the next try.
        Raises OperationalError when it gives up.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        tries = 0
        while True:
            try:
                return self.connect()
            except DriverError as error:
                if max_retries is not None and tries >= max_retries:
                    raise
                pause = min(interval_start + tries * interval_step, interval_max)
                if deadline is not None and time.monotonic() + pause > deadline:
                    raise
                if errback is not None:
                    errback(error, pause)
                time.sleep(pause)
                tries += 1

    @property
    def connected(self) -> bool:
        """Whether the broker answers now."""
        try:
            self.connect()
        except DriverError:
            return False
        return True

    def as_uri(self, include_password: bool = False) -> str:
        """Return the broker's URL, its password masked unless asked for."""
        return self._url if include_password else censored(self._url)

    def release(self) -> None:
        """Do nothing: the connection is the app's, which ``app.close()`` closes."""

    close = release

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a connection has no {name!r} here: it can tell whether the broker is there "
            "(ensure_connection, connect, connected), and tasks are sent by delay, apply_async and "
            "app.send_task."
        )

    def __repr__(self) -> str:
        return f"<BrokerConnection: {self.as_uri()}>"
