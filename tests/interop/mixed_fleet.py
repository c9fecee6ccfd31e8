"""Workers and clients of both libraries around one Redis server, each a process of its own."""

from __future__ import annotations

import base64
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import redis

from tests.e2e.processes import PATIENCE, Program
from tests.redis_server import RedisServer

HOME = Path(__file__).parent / "fleet"
ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("celery", "umbel")
OURS = [str(ROOT / "packages" / name / "src") for name in ("umbel", "umbel-celery")]


class Client:
    """A ``fleet_client.py`` that does what it is asked and answers."""

    def __init__(self, library: str, python: str, env: dict[str, str]) -> None:
        self.library = library
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._process = subprocess.Popen(
            [python, "fleet_client.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=HOME,
            env=env,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def ask(self, function: str, *args: Any, **options: Any) -> Any:
        """Have one of its functions called and return the answer; fail with its traceback."""
        assert self._process.stdin is not None
        words = base64.b64encode(pickle.dumps((function, args, options)))
        self._process.stdin.write(words + b"\n")
        self._process.stdin.flush()
        line = self._answers.get(timeout=PATIENCE * 2)
        assert line, f"the {self.library} client ended at {function}{args}"
        well, answer = pickle.loads(base64.b64decode(line))
        assert well, f"the {self.library} client failed at {function}{args}:\n{answer}"
        return answer

    def call(self, task: str, *args: Any, **options: Any) -> Any:
        """Send a call and return the value of its result."""
        return self.ask("get", self.ask("send", task, *args, **options))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(PATIENCE)
            self._process.stdout.close()


class Notes:
    """What tasks tell the test, and the gates it opens for them."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url, socket_timeout=PATIENCE * 2)

    def hear(self, name: str) -> Any:
        """Return the next thing noted under this name; fail when there is nothing for long."""
        said = self.redis.blpop([f"note:{name}"], PATIENCE)
        assert said is not None, f"nobody noted {name!r}"
        return json.loads(said[1])

    def silent(self, name: str) -> bool:
        """Tell whether nothing more was noted under this name so far."""
        return not self.redis.exists(f"note:{name}")

    def open(self, gate: str, times: int = 1) -> None:
        """Let so many tasks pass."""
        self.redis.rpush(f"gate:{gate}", *["open"] * times)


class Fleet:
    """Starts both kinds of process on a broker, a result store and a place for notes."""

    def __init__(
        self,
        server: RedisServer,
        celery_python: str,
        first_database: int = 0,
        *,
        broker_url: str | None = None,
        results_url: str | None = None,
    ) -> None:
        """``broker_url`` and ``results_url``: where these are not databases of the server."""
        self._pythons = {"celery": celery_python, "umbel": sys.executable}
        self.broker_url = broker_url or server.url(first_database)
        self.results_url = results_url or server.url(first_database + 1)
        notes_url = server.url(first_database + 2)
        self.notes = Notes(notes_url)
        self.broker: Any = redis.Redis.from_url(server.url(first_database))
        self.results: Any = redis.Redis.from_url(server.url(first_database + 1))
        self._addresses = {
            "FLEET_BROKER": self.broker_url,
            "FLEET_RESULTS": self.results_url,
            "FLEET_NOTES": notes_url,
        }

    def environment(self, library: str, settings: dict[str, Any]) -> dict[str, str]:
        """Return the environment in which a program of this library finds the fleet's tasks."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CELERY_", "UMBEL_", "PYTHON"))
        }
        paths = [str(HOME), *(OURS if library == "umbel" else ())]
        return (
            kept
            | self._addresses
            | {
                "FLEET_LIBRARY": library,
                "FLEET_SETTINGS": json.dumps(settings),
                "PYTHONPATH": os.pathsep.join(paths),
                "PYTHONUNBUFFERED": "1",
                # A root user is warned of pickle at every start, which fills the output.
                "C_FORCE_ROOT": "1",
            }
        )

    def client(self, library: str, **settings: Any) -> Client:
        """Start a client; close it."""
        return Client(library, self._pythons[library], self.environment(library, settings))

    def worker(self, library: str, *options: str, queues: str, **settings: Any) -> Program:
        """Start a worker; use it as a context manager. It takes messages soon: wait_ready."""
        module = "celery" if library == "celery" else "umbel"
        name = f"{library}-{uuid.uuid4().hex[:6]}@fleet"
        words = [self._pythons[library], "-m", module, "-A", "fleet_tasks", "worker"]
        words += ["-l", "info", "-n", name, "-Q", queues, *options]
        if library == "celery":
            words += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        return Program(words, cwd=HOME, env=self.environment(library, settings))

    def close(self) -> None:
        self.broker.close()
        self.results.close()
        self.notes.redis.close()


def wait_ready(worker: Program) -> Program:
    """Return once the worker takes messages."""
    worker.wait_for(r"@fleet ready\.|Connected to (Redis|RabbitMQ)")
    return worker


def new_name() -> str:
    """Return a name nobody else uses: of a gate, a note or a queue."""
    return uuid.uuid4().hex
