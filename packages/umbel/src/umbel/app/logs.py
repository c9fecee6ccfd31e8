"""Where the log lines of a worker's processes go.

Called once by each process of a worker at its start, and again by an executor after its fork. The
plan is made where the settings are known and crosses to the other processes as a value. Programs
that merely send tasks are never touched: their logging is their own.

Two manners, by the setting ``worker_hijack_root_logger``: *hijack* (profile ``celery``) replaces
whatever handlers the root logger has; otherwise handlers that exist are left alone, and Umbel adds
its own only where there are none or a ``--logfile`` was asked for.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from logging.handlers import WatchedFileHandler
from typing import Any, TextIO

import msgspec

from umbel.app import signals
from umbel.app.log_records import (
    BASE,
    REDIRECTED,
    TASK,
    ColorFormatter,
    LoggingProxy,
    TaskFilter,
    TaskFormatter,
    get_logger,
    get_task_logger,
    level_number,
    wants_color,
)
from umbel.config.settings import Settings
from umbel.errors import ImproperlyConfigured

__all__ = [
    "LogPlan",
    "expand_node_format",
    "get_logger",
    "get_task_logger",
    "log_plan",
    "redirect_standard_streams",
    "rename_process",
    "setup_logging",
]

MAIN_PROCESS = "MainProcess"


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How the processes of one worker log. Formats are in the ``%`` style of ``logging``."""

    level: int
    logfile: str | None
    """As given, with ``%n`` and its like not yet filled in; None is standard error."""
    node: str
    """The node name, ``celery@host``."""
    format: str
    datefmt: str | None
    task_format: str
    task_datefmt: str | None
    color: bool | None
    """None: where the stream is a terminal."""
    hijack: bool
    redirect: bool
    redirect_level: str


def log_plan(
    settings: Settings,
    *,
    node: str,
    loglevel: str | int | None = None,
    logfile: str | None = None,
    no_color: bool = False,
) -> LogPlan:
    """Make the plan from the settings and from what the command line said.

    Without a level, profile ``umbel`` shows INFO, since a worker that says nothing looks broken;
    profile ``celery`` shows WARNING, as Celery does. Raises ImproperlyConfigured on a wrong level.
    """
    default = logging.INFO if settings.profile == "umbel" else logging.WARNING
    try:
        level = level_number(loglevel, default)
        level_number(settings.worker_redirect_stdouts_level)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None
    color = settings.worker_log_color
    if no_color or (color is None and os.environ.get("NO_COLOR")):
        color = False
    return LogPlan(
        level=level,
        logfile=logfile,
        node=node,
        format=settings.worker_log_format,
        datefmt=settings.worker_log_datefmt,
        task_format=settings.worker_task_log_format,
        task_datefmt=settings.worker_task_log_datefmt,
        color=color,
        hijack=settings.worker_hijack_root_logger,
        redirect=settings.worker_redirect_stdouts,
        redirect_level=str(settings.worker_redirect_stdouts_level),
    )


class _Installed:
    """The handlers this process got from here, so that setting up again replaces only those."""

    def __init__(self) -> None:
        self.pairs: list[tuple[logging.Logger, logging.Handler]] = []

    def add(self, logger: logging.Logger, handler: logging.Handler) -> None:
        logger.addHandler(handler)
        self.pairs.append((logger, handler))

    def clear(self) -> None:
        for logger, handler in self.pairs:
            logger.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()
        self.pairs.clear()


_installed = _Installed()
"""Belongs to the main thread of the process; a fork inherits it, which is what is wanted."""


def setup_logging(
    plan: LogPlan, *, process_name: str = MAIN_PROCESS, process_index: int = 0
) -> bool:
    """Set this process's logging up; return False when the user's ``setup_logging`` signal did it.

    Fires ``setup_logging`` and, unless somebody listens to that one, ``after_setup_logger`` and
    ``after_setup_task_logger``. Records of tasks get the task's id and name on every handler that
    is on the root or the task logger afterwards. May be called again: it replaces its own handlers
    and no others. Raises ImproperlyConfigured when the log file cannot be opened.
    """
    _installed.clear()
    told: dict[str, Any] = {
        "loglevel": plan.level,
        "logfile": plan.logfile,
        "format": plan.format,
        "colorize": plan.color,
    }
    task_logger = logging.getLogger(TASK)
    if signals.setup_logging.receivers:
        signals.setup_logging.send(sender=None, **told)
        _add_task_filter(logging.root, task_logger)
        return False
    root = logging.root
    if plan.hijack:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
    for name in ("umbel", BASE):
        logging.getLogger(name).setLevel(plan.level)
    logging.captureWarnings(True)
    if not root.handlers or plan.logfile:
        root.setLevel(plan.level)
        _install(plan, root, task_logger, process_name, process_index)
    signals.after_setup_logger.send(sender=None, logger=root, **told)
    signals.after_setup_task_logger.send(
        sender=None, logger=task_logger, **(told | {"format": plan.task_format})
    )
    _add_task_filter(root, task_logger)
    return True


def _install(
    plan: LogPlan,
    root: logging.Logger,
    task_logger: logging.Logger,
    process_name: str,
    process_index: int,
) -> None:
    """Give the root logger one handler and the task loggers, whose format differs, another."""
    handler = _open_handler(plan, process_index)
    stream = getattr(handler, "stream", None)
    color = wants_color(stream, plan.color)
    handler.setFormatter(ColorFormatter(plan.format, plan.datefmt, color, process_name))
    _installed.add(root, handler)
    handler = _open_handler(plan, process_index)
    handler.setFormatter(TaskFormatter(plan.task_format, plan.task_datefmt, color, process_name))
    task_logger.setLevel(plan.level)
    task_logger.propagate = False
    _installed.add(task_logger, handler)


def _open_handler(plan: LogPlan, process_index: int) -> logging.Handler:
    if plan.logfile is None:
        stream = sys.stderr if not isinstance(sys.stderr, LoggingProxy) else sys.__stderr__
        return logging.StreamHandler(stream)
    path = expand_node_format(plan.logfile, plan.node, process_index)
    try:
        return WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ImproperlyConfigured(
            f"The log file {path} cannot be opened: {error.strerror or error}. "
            "Give --logfile a path that this user may write."
        ) from error


def _add_task_filter(*loggers: logging.Logger) -> None:
    for logger in loggers:
        for handler in logger.handlers:
            if not any(isinstance(one, TaskFilter) for one in handler.filters):
                handler.addFilter(TaskFilter())


def rename_process(plan: LogPlan, process_name: str, process_index: int) -> None:
    """Make a forked executor's lines carry its own name, in its own file where that has an index.

    Called in the child. Fires no signal: handlers the user installed are inherited as they are.
    """
    if plan.logfile and ("%i" in plan.logfile or "%I" in plan.logfile) and _installed.pairs:
        _installed.clear()
        _install(plan, logging.root, logging.getLogger(TASK), process_name, process_index)
        _add_task_filter(logging.root, logging.getLogger(TASK))
        return
    for _, handler in _installed.pairs:
        if isinstance(handler.formatter, ColorFormatter):
            handler.formatter.process_name = process_name


def redirect_standard_streams(plan: LogPlan) -> None:
    """Send what is printed to the log, where the settings ask for it. Twice is once."""
    if not plan.redirect:
        return
    logger = get_logger(REDIRECTED)
    for name in ("stdout", "stderr"):
        stream: TextIO | LoggingProxy | None = getattr(sys, name)
        if not isinstance(stream, LoggingProxy):
            setattr(sys, name, LoggingProxy(logger, plan.redirect_level))


def expand_node_format(pattern: str, node: str, process_index: int = 0) -> str:
    """Fill ``%n %h %d %p %i %I %%`` in, as in the names of log and pid files.

    ``%p`` is the node name, ``%n`` its part before the ``@``, ``%h`` the host after it, ``%d`` the
    domain of that host; ``%i`` is the index of the executor (0 in the main process), ``%I`` the
    same with a dash before it, and nothing in the main process.
    """
    name, at, host = node.rpartition("@")
    if not at:
        name, host = node, socket.gethostname()
    values = {
        "n": name,
        "h": host,
        "d": host.partition(".")[2],
        "p": node,
        "i": str(process_index),
        "I": f"-{process_index}" if process_index else "",
        "%": "%",
    }
    pieces = iter(pattern)
    out: list[str] = []
    for letter in pieces:
        if letter != "%":
            out.append(letter)
            continue
        key = next(pieces, "%")
        out.append(values.get(key, f"%{key}"))
    return "".join(out)
