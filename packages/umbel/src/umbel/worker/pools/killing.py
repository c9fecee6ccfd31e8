"""Signals to executors. Used by ``pools.process``."""

from __future__ import annotations

import os
import signal


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to an executor that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended by itself; its socket tells the rest


def kill_with_children(pid: int) -> None:
    """Kill an executor and the programs that its tasks have started.

    They are in its process group, which it makes when it starts (``worker.executor``). Programs in
    a session of their own (``start_new_session=True``) are left alone.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it has not made its group yet, or has ended and left nobody in it
    send_signal(pid, signal.SIGKILL)
