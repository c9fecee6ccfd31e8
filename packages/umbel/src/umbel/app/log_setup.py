"""``app.log``: setting logging up as a worker would, in a program of one's own.

For programs that call it themselves (scripts, shells, servers); workers go to ``logs`` directly,
which does the work.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app import logs
from umbel.app.log_records import BASE, TASK, LoggingProxy

if TYPE_CHECKING:
    from umbel.app.app import App


class AppLogging:
    """The logging of one app in this process. Call it from the main thread."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.already_setup = False

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        redirect_stdouts: bool = False,
        redirect_level: str = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> bool:
        """Set logging up, and send what is printed to the log where ``redirect_stdouts``.

        Returns whether it did: not where a ``setup_logging`` receiver has.
        """
        done = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if redirect_stdouts:
            plan = self._plan(loglevel, logfile, hostname)
            logs.redirect_standard_streams(
                msgspec.structs.replace(plan, redirect=True, redirect_level=redirect_level)
            )
        return done

    def setup_logging_subsystem(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        format: str | None = None,  # noqa: A002 - Celery's name
        colorize: bool | None = None,
        hostname: str | None = None,
        **_: Any,
    ) -> bool:
        """Give the loggers their handlers, as a worker's; once, a second call does nothing."""
        if self.already_setup:
            return False
        plan = self._plan(loglevel, logfile, hostname)
        if format is not None:
            plan = msgspec.structs.replace(plan, format=format)
        if colorize is not None:
            plan = msgspec.structs.replace(plan, color=colorize)
        self.already_setup = True
        return logs.setup_logging(plan)

    def redirect_stdouts_to_logger(
        self, logger: logging.Logger, loglevel: int | str = "WARNING", **_: Any
    ) -> LoggingProxy:
        """Return something to print to that writes to a logger, for ``sys.stdout``."""
        return LoggingProxy(logger, loglevel)

    def get_default_logger(self, name: str = BASE) -> logging.Logger:
        """Return the logger above all of Umbel's own."""
        return logging.getLogger(name)

    def get_task_logger(self) -> logging.Logger:
        """Return the logger above those of tasks."""
        return logging.getLogger(TASK)

    def _plan(
        self, loglevel: int | str | None, logfile: str | None, hostname: str | None
    ) -> logs.LogPlan:
        return logs.log_plan(
            self.app.settings,
            node=hostname or f"celery@{socket.gethostname()}",
            loglevel=loglevel,
            logfile=logfile,
        )
