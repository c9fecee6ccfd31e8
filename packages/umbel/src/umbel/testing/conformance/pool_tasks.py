"""The app whose tasks the pool suite has run: found by executors as ``-A`` finds any other.

Tasks talk to the test through files: a task says that it began by making one, and waits until
another is there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from umbel.app.app import App
from umbel.app.shared import current_task
from umbel.errors import TaskInterrupted

app = App("pool-suite", broker="memory://pool-suite", backend="memory://pool-suite")


@app.task(name="suite.echo")
def echo(value: object) -> object:
    return value


@app.task(name="suite.fail")
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(name="suite.wait_for")
def wait_for(path: str) -> str:
    """Say that it began, and end when there is a file of this name."""
    Path(f"{path}.began").touch()
    while not os.path.exists(path):  # a look each time, since nobody tells
        time.sleep(0.005)
    return path


@app.task(name="suite.leave")
def leave(status: int) -> None:
    sys.exit(status)


@app.task(name="suite.fill")
def fill(size: int) -> str:
    return "x" * size


# --- tasks that are stopped -----------------------------------------------------------------------


def _wait(path: str, over: Callable[[], bool] = lambda: False) -> None:
    """Say that it began, and wait until there is a file of this name or ``over`` says so."""
    Path(f"{path}.began").touch()
    while not (over() or os.path.exists(path)):
        time.sleep(0.005)


@app.task(name="suite.tidy")
def tidy(path: str) -> str:
    """Wait; return the name of what was raised meanwhile."""
    try:
        _wait(path)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - its name is the answer
        return type(error).__name__
    return "nothing"


@app.task(name="suite.insist")
def insist(path: str) -> None:
    """Go on for ever, whatever is raised."""
    while True:
        with suppress(BaseException):
            _wait(path)


@app.task(name="suite.watch", bind=True)
def watch(self: Any, path: str) -> str | None:
    """Wait until it is cancelled; return why. Nothing that is raised ends it.

    To look is to let others run, so what is raised may come with either look.
    """
    with suppress(TaskInterrupted):
        _wait(path, self.cancelled)
        return str(self.request.cancelled)
    return str(self.request.cancelled)


@app.task(name="suite.watch_unbound")
def watch_unbound(path: str) -> str:
    _wait(path, lambda: bool(current_task.cancelled()))
    return "cancelled"


@app.task(name="suite.watch_for_the_end", bind=True)
def watch_for_the_end(self: Any, path: str) -> bool:
    """Wait until the worker shuts down; return whether that counts as cancelled."""
    _wait(path, lambda: self.shutdown_requested)
    return bool(self.cancelled())


@app.task(name="suite.spin", bind=True)
def spin(self: Any, path: str) -> str | None:
    """Never wait, so that no other greenlet runs but by asking."""
    Path(f"{path}.began").touch()
    while not self.cancelled():
        pass
    return str(self.request.cancelled)


@app.task(name="suite.spin_async", bind=True)
async def spin_async(self: Any, path: str) -> str | None:
    """Never await, so that the loop stands still but for asking."""
    Path(f"{path}.began").touch()
    while not self.cancelled():
        pass
    return str(self.request.cancelled)


@app.task(name="suite.tidy_async")
async def tidy_async(path: str) -> str:
    Path(f"{path}.began").touch()
    try:
        await asyncio.sleep(600)
    except Exception as error:  # noqa: BLE001 - its name is the answer
        return type(error).__name__
    return "nothing"


@app.task(name="suite.heed_sigterm")
def heed_sigterm(path: str) -> str:
    """Wait until SIGTERM comes, with a handler of its own."""
    heard: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        _wait(path, lambda: bool(heard))
    finally:
        signal.signal(signal.SIGTERM, former)
    return "heeded"


@app.task(name="suite.have_child")
def have_child(path: str) -> None:
    """Start a program, write down its process id, and wait."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(f"{path}.child").write_text(str(child.pid))
    _wait(path)
