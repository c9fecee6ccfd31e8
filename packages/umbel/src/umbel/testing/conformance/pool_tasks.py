"""The app whose tasks the pool suite has run: found by executors as ``-A`` finds any other.

Tasks talk to the test through files: a task says that it began by making one, and waits until
another is there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from umbel.app.app import App

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
