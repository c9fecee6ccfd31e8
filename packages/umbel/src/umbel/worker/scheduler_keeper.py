"""``-B``: a scheduler beside the executors, and the process that starts it anew when it dies.

Forked from where the app is imported (the template, or the worker of a ``solo`` pool), while that
process has one thread. Two processes: the keeper, which only waits, and under it the scheduler,
which runs user code. Both end with the worker. Any number of workers may carry one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from umbel.errors import ImproperlyConfigured
from umbel.worker.lineage import die_with_parent

logger = logging.getLogger("umbel.beat")

LOOK_EVERY = 0.5
"""Seconds between the keeper's looks at its parent and its child."""
PAUSE = 2.0
"""Seconds before a scheduler that died is started anew."""
GOODBYE = 2.0
"""Seconds a scheduler that is told to stop has for its last step."""


def check_schedule(app: Any) -> None:
    """Raise ImproperlyConfigured now for a schedule that a scheduler could not run."""
    app.periodic.all()
    _ = app.connections.schedule_store


class SchedulerKeeper:
    """The keeper, seen from the process that forked it."""

    def __init__(self, app: Any, *, let_go: Callable[[], None] = lambda: None) -> None:
        """Fork it. ``let_go`` closes, in the child, what it must not keep open."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                let_go()
                _keep(app)
            except BaseException:  # noqa: BLE001 - the last stop before the process ends
                traceback.print_exc()
            finally:
                os._exit(0)

    def stop(self) -> None:
        """Let the scheduler finish its step and end; wait for it, briefly."""
        try:
            os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + GOODBYE + LOOK_EVERY
            while time.monotonic() < deadline:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return
                time.sleep(0.01)
            os.kill(self.pid, signal.SIGKILL)
        except (ProcessLookupError, ChildProcessError):
            pass  # gone already, or reaped by a handler


def _keep(app: Any) -> None:
    die_with_parent()
    parent, told = os.getppid(), threading.Event()

    def over() -> bool:
        return told.is_set() or os.getppid() != parent

    def stop(_number: int, _frame: FrameType | None) -> None:
        told.set()

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    while not over():
        child = _start(app)
        while not over() and not _ended(child):
            told.wait(LOOK_EVERY)
        if over():
            _end(child)
        told.wait(PAUSE)


def _ended(child: int) -> bool:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        logger.error(
            "The scheduler of this worker ended (exit status %s); it is started anew in %g s",
            os.waitstatus_to_exitcode(status),
            PAUSE,
        )
    return bool(ended)


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGTERM)
        deadline = time.monotonic() + GOODBYE
        while time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
    except (ProcessLookupError, ChildProcessError):
        pass


def _start(app: Any) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with_parent()
        # Imported here: a worker without -B has no use for it.
        from umbel.app.signals import beat_embedded_init  # noqa: PLC0415
        from umbel.beat.standing_alone import run_scheduler  # noqa: PLC0415

        run_scheduler(app, init=beat_embedded_init)
        code = 0
    except ImproperlyConfigured as error:
        logger.error("The scheduler of this worker cannot run: %s", error)
    except BaseException:  # noqa: BLE001 - the last stop before the process ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
