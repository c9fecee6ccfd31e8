"""The real Celery, where ``UMBEL_TEST_CELERY_PYTHON`` names a Python that has it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Program
from tests.interop.mixed_fleet import LIBRARIES, Client, Fleet, Notes, wait_ready
from tests.redis_server import RedisServer

SIDE = Path(__file__).parent / "celery_side.py"
PATIENCE = 30.0


class CeleryProcess:
    """One run of ``celery_side.py``, and what it says."""

    def __init__(self, python: str, words: tuple[str, ...]) -> None:
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        environment = {**os.environ, "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [python, str(SIDE), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=SIDE.parent,
        )
        self._noise: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode("utf-8", "replace").strip()
            if text.startswith("{"):
                self._said.put(json.loads(text))
            else:
                self._noise.append(text)
        self._said.put(None)

    def hear(self) -> dict[str, Any]:
        """Return the next thing it says; fail when it ends or takes too long."""
        try:
            word = self._said.get(timeout=PATIENCE)
        except queue.Empty:
            word = None
        assert word is not None, "the Celery process said nothing more:\n" + "\n".join(self._noise)
        return word

    def hears_nothing(self, seconds: float) -> bool:
        """Tell whether it stays silent for so long."""
        try:
            return self._said.get(timeout=seconds) is None
        except queue.Empty:
            return True

    def close(self) -> None:
        """Kill it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="session")
def celery_python() -> str:
    """A Python that has the real Celery; ``make test`` sees to it and names it."""
    python = os.environ.get("UMBEL_TEST_CELERY_PYTHON", "")
    if python and Path(python).exists():
        return python
    what = f"there is no {python}" if python else "UMBEL_TEST_CELERY_PYTHON names no Python"
    if os.environ.get("CI") == "true":
        pytest.fail(f"no real Celery: {what}, and CI=true says it must be there")
    pytest.skip(f"no real Celery: {what} (`make test` makes one)")


@pytest.fixture
def celery(celery_python: str) -> Iterator[Callable[..., CeleryProcess]]:
    """A function that starts the Celery side; what it started ends with the test."""
    started: list[CeleryProcess] = []

    def start(*words: str) -> CeleryProcess:
        process = CeleryProcess(celery_python, words)
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def fleet_server(celery_python: str) -> Iterator[RedisServer]:
    """One server for all tests of the mixed fleet; those that kill take databases of their own."""
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def fleet(fleet_server: RedisServer, celery_python: str) -> Iterator[Fleet]:
    fleet = Fleet(fleet_server, celery_python)
    yield fleet
    fleet.close()


@pytest.fixture(scope="session")
def workers(fleet: Fleet) -> Iterator[dict[str, Program]]:
    """One worker of each library, on a queue of its own and on one they share."""
    with contextlib.ExitStack() as stack:
        started = {
            library: stack.enter_context(
                fleet.worker(library, "-c", "4", queues=f"on-{library},celery")
            )
            for library in LIBRARIES
        }
        for worker in started.values():
            wait_ready(worker)
        yield started


@pytest.fixture(scope="session")
def clients(fleet: Fleet, workers: dict[str, Program]) -> Iterator[dict[str, Client]]:
    """One client of each library."""
    with contextlib.ExitStack() as stack:
        started = {}
        for library in LIBRARIES:
            started[library] = fleet.client(library)
            stack.callback(started[library].close)
        yield started


@pytest.fixture(params=LIBRARIES, ids=lambda library: f"from-{library}")
def client(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    """The client of either library."""
    return clients[request.param]


@pytest.fixture
def other(client: Client, clients: dict[str, Client]) -> Client:
    """The client of the other library."""
    return clients["celery" if client.library == "umbel" else "umbel"]


@pytest.fixture(params=LIBRARIES, ids=lambda library: f"at-{library}")
def at(request: pytest.FixtureRequest, workers: dict[str, Program]) -> str:
    """The queue only the worker of this library takes from."""
    return f"on-{request.param}"


@pytest.fixture
def notes(fleet: Fleet) -> Notes:
    return fleet.notes
