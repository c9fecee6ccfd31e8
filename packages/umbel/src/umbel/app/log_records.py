"""What a log line is made of: the loggers' names, formatters, colours, and a file-like logger.

Used by ``logs.py``, which decides where the lines go, and by whoever writes some. Nothing here
touches a handler or the root logger.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any, ClassVar, TextIO

from umbel.app.context import current

BASE = "celery"
"""The loggers keep Celery's names, so that logging settings written for Celery go on working."""
WORKER = "celery.worker"
TRACE = "celery.app.trace"
TASK = "celery.task"
REDIRECTED = "celery.redirected"

OUTSIDE = "???"
"""Stands for the task's id and name in a record that no task wrote."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")
LEVEL_NUMBERS: dict[str | int, int | str] = {
    **{name: getattr(logging, name) for name in LEVELS},
    **{getattr(logging, name): name for name in LEVELS},
}
"""Names to numbers, and numbers to names."""

base_logger = logging.getLogger(BASE)
worker_logger = logging.getLogger(WORKER)
task_logger = logging.getLogger(TASK)

_RESERVED = frozenset((BASE, TASK))


def get_logger(name: str) -> logging.Logger:
    """Return a logger of that name, below Umbel's own one unless it has a configured parent."""
    logger = logging.getLogger(name)
    if logger.parent is logging.root and logger is not base_logger:
        logger.parent = base_logger
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for the code of tasks: its lines carry the task's id and name.

    Raises RuntimeError for the two names that belong to the worker itself.
    """
    if name in _RESERVED:
        raise RuntimeError(f"The logger name {name!r} is the worker's own: take __name__.")
    logger = logging.getLogger(name)
    if not _is_below(task_logger, logger):
        logger.parent = task_logger
    return logger


def _is_below(logger: logging.Logger, maybe_ancestor: logging.Logger) -> bool:
    """Tell whether ``logger`` hangs below the other, so that turning it round made a loop."""
    step: logging.Logger | None = logger
    while step is not None:
        if step is maybe_ancestor:
            return True
        step = step.parent
    return False


def level_number(level: str | int | None, default: int = logging.WARNING) -> int:
    """Return the number of a level given as name (any case) or number. Raises ValueError."""
    if level is None:
        return default
    if isinstance(level, int):
        return level
    name = level.strip().upper()
    if name.isdigit():
        return int(name)
    if name not in LEVELS:
        raise ValueError(f"{level!r} is no log level; there are {', '.join(LEVELS)}.")
    return int(getattr(logging, name))


class TaskFilter(logging.Filter):
    """Adds ``task_id`` and ``task_name`` to every record, and never refuses one.

    Put it on a handler, also in a ``dictConfig`` of your own. A record that brings these names
    itself keeps them. Outside a task both are ``???``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if "task_id" not in record.__dict__:
            running = current.get()
            if running is None:
                record.task_id = record.task_name = OUTSIDE
            else:
                record.task_id = running.request.id
                record.task_name = running.task.name
        record.__dict__.setdefault("task_name", OUTSIDE)
        return True


class ColorFormatter(logging.Formatter):
    """A formatter that colours the line by its level, where asked to.

    ``process_name`` stands for ``%(processName)s``: a worker's processes are named for what they
    are (``MainProcess``, ``ForkPoolWorker-1``), however they were started.
    """

    COLORS: ClassVar[dict[str, str]] = {
        "DEBUG": "\x1b[34m",
        "WARNING": "\x1b[33m",
        "ERROR": "\x1b[31m",
        "CRITICAL": "\x1b[35m",
    }
    _END = "\x1b[0m"

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        use_color: bool = True,
        process_name: str | None = None,
    ) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color
        self.process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        if self.process_name is not None:
            record.processName = self.process_name
        line = super().format(record)
        color = self.COLORS.get(record.levelname) if self.use_color else None
        return f"{color}{line}{self._END}" if color else line


class TaskFormatter(ColorFormatter):
    """A formatter for task loggers: knows ``%(task_id)s`` and ``%(task_name)s`` by itself."""

    _filter = TaskFilter()

    def format(self, record: logging.LogRecord) -> str:
        self._filter.filter(record)
        return super().format(record)


class LoggingProxy:
    """A text file that writes what it is given to a logger, line by line.

    Stands in for ``sys.stdout`` and ``sys.stderr``. Any thread may write. A handler that itself
    prints does not begin a circle: what is printed while a line is being logged goes to the
    original standard error.
    """

    name: str | None = None
    mode = "w"
    encoding = "utf-8"
    errors = "replace"
    closed = False

    def __init__(self, logger: logging.Logger, loglevel: str | int | None = None) -> None:
        self.logger = logger
        self.loglevel = level_number(loglevel, logger.level or logging.WARNING)
        self._thread = threading.local()

    def write(self, data: Any) -> int:
        """Log every line of ``data`` that is not blank; return how many characters were taken."""
        text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
        if getattr(self._thread, "inside", False):
            if sys.__stderr__ is not None:
                sys.__stderr__.write(text)
            return len(text)
        if self.closed:
            return 0
        self._thread.inside = True
        try:
            for line in text.rstrip().splitlines():
                if line.strip():
                    self.logger.log(self.loglevel, "%s", line.rstrip())
        finally:
            self._thread.inside = False
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing: every line was logged when it was written."""

    def close(self) -> None:
        self.closed = True

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return not self.closed

    def seekable(self) -> bool:
        return False


def wants_color(stream: TextIO | None, setting: bool | None) -> bool:
    """Decide on colours: as set, else whether the stream is a terminal that shows them."""
    if setting is not None:
        return setting
    return stream is not None and stream.isatty()
