"""A worker process on a store of its own, and the app in this process to send it tasks."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.e2e.processes import PATIENCE, Program

TASKS = '''
"""Tasks of the worker tests."""
import asyncio
import os
import signal
import time
from pathlib import Path

from umbel import Umbel
from umbel.errors import Reject

HOME = Path(__file__).parent
app = Umbel("desk", broker={broker!r}, backend={backend!r})
app.conf.update({settings!r})


def note(name, text=""):
    """Say that something happened, once for each time, where the test can see it."""
    with (HOME / name).open("a") as file:
        file.write(f"{{text}}\\n")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list) -> int:
    return sum(numbers)


@app.task
def count_values(values: list) -> int:
    note("body", len(values))
    return len(values)


@app.task
def note_failure(request, exc, traceback) -> None:
    note("failure", type(exc).__name__)


@app.task
async def later(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"slept {{seconds}}"


@app.task
def wait_for(name: str) -> str:
    """Run until a file of this name is there; note the beginning and the end."""
    note(f"began-{{name}}", os.getpid())
    while not (HOME / name).exists():
        time.sleep(0.005)
    note(f"ended-{{name}}", os.getpid())
    return name


@app.task(acks_late=False)
def wait_for_early(name: str) -> str:
    return wait_for(name)


@app.task(acks_late=False)
def quick_unless(what: str) -> str:
    """Return at once, or die, or wait for a file as deaf to signals as a library written in C."""
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    if what:
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
        wait_for(what)
    return what


@app.task
def die(how: int) -> None:
    note("died", os.getpid())
    os.kill(os.getpid(), how)
    time.sleep(60)


@app.task
def die_once() -> str:
    note("died-once")
    if len((HOME / "died-once").read_text().splitlines()) < 2:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    return "alive"


@app.task
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def retry_twice(self) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task
def pid() -> int:
    return os.getpid()


@app.task
def unserialisable() -> object:
    return object()


@app.task
def reject() -> None:
    raise Reject("not this one", requeue=False)


@app.task
def catch_soft_limit(seconds: float) -> str:
    from umbel.errors import SoftTimeLimitExceeded
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.005)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never interrupted"


@app.task
def greet(name: str) -> None:
    note("greeted", name)
'''


class Desk:
    """Task files in one directory; workers are started on them, tasks sent from here."""

    def __init__(
        self, home: Path, broker: str, backend: str | None = None, **settings: Any
    ) -> None:
        self.home = home
        text = TASKS.format(broker=broker, backend=backend or broker, settings=settings)
        (home / "desk_tasks.py").write_text(text, encoding="utf-8")
        self.tasks = self._import()
        self.app = self.tasks.app

    def _import(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("desk_tasks", self.home / "desk_tasks.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # The name under which the worker finds them, for this test only.
        sys.modules["desk_tasks"] = module
        spec.loader.exec_module(module)
        return module

    def worker(self, *options: str, ready: bool = True, group: bool = False) -> Program:
        """Start a worker; use it as a context manager. Returns once it is connected.

        ``group``: in a process group of its own, as a shell starts it.
        """
        words = [sys.executable, "-m", "umbel", "worker", "-A", "desk_tasks", "-l", "info"]
        env = os.environ | {"PYTHONUNBUFFERED": "1"}
        program = Program([*words, *options], cwd=self.home, env=env, group=group)
        if ready:
            program.wait_for("Connected to")
        return program

    def create(self, name: str) -> None:
        """Make the file some task waits for."""
        (self.home / name).write_text("", encoding="utf-8")

    def lines(self, name: str) -> list[str]:
        """What tasks noted under this name."""
        path = self.home / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def stats(self) -> tuple[int, int, int]:
        """Messages ready, claimed and resting in the default queue."""
        (stats,) = self.app.broker.stats(["celery"])
        return stats.ready, stats.claimed, stats.delayed

    def close(self) -> None:
        self.app.close()
        sys.modules.pop("desk_tasks", None)


__all__ = ["PATIENCE", "Desk"]
