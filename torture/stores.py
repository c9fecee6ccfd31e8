"""The stores under torture: started, killed and frozen by us alone, looked into from outside.

What lies in a store is read with the store's own tools, never through the product: a message is
where its id is found. A new kind of store is one class here and one entry in ``STORES``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import redis

from torture.network import Line, Network
from torture.postgres import PrivatePostgres

START_SECONDS = 30.0
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RESULT_PREFIX = b"celery-task-meta-"
NO_MESSAGES = (RESULT_PREFIX, b"celery-taskset-meta-")
"""Results and the counts of chords on Redis, of both peers: not places where messages lie."""


class Store(ABC):
    """One private store. Methods may be called from the main thread only."""

    server = False
    """Whether there is a server process and a network between it and its clients."""
    patience_option = ""
    """The option of a server's URL that says how many seconds an answer may take."""

    @abstractmethod
    def line(self) -> Line | None:
        """Return a new network line to it, or None where there is no network."""

    @abstractmethod
    def url(self, line: Line | None = None) -> str:
        """Return its address, through this line."""

    @abstractmethod
    def places(self) -> Iterator[tuple[str, bytes]]:
        """Yield what lies in it, with where it lies; results and counts of chords left out."""

    def traces(self, ids: Iterable[str]) -> dict[str, list[str]]:
        """Return where each of these task ids lies in it, results left out."""
        wanted = set(ids)
        found: dict[str, list[str]] = {}
        if wanted:
            for place, content in self.places():
                for task_id in wanted & {each.decode() for each in _UUID.findall(content)}:
                    found.setdefault(task_id, []).append(place)
        return found

    @abstractmethod
    def size(self) -> int:
        """Return the bytes it takes: on disk for a file, in memory for a server."""

    @abstractmethod
    def close(self) -> None:
        """End it and remove what it left."""

    def kill(self) -> None:
        """End the server as a crash does. Servers only."""
        raise NotImplementedError

    def end(self) -> None:
        """End the server politely. Servers only."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server (again), and return when it answers. Servers only."""
        raise NotImplementedError

    def freeze(self, frozen: bool) -> None:
        """Stop the server's process, or let it go on. Servers only."""
        raise NotImplementedError

    def cut_all(self) -> None:
        """Have the server close every connection but ours. Servers only."""
        raise NotImplementedError

    def fill(self, full: bool) -> None:
        """Fill the disk to the last byte, or free it. Where ``fillable``."""
        raise NotImplementedError

    @property
    def fillable(self) -> bool:
        return False


class RedisStore(Store):
    """A server that keeps what it confirmed: ``appendonly yes``, ``appendfsync always``."""

    server = True
    patience_option = "socket_timeout"

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("torture: no redis-server in PATH; install Redis 6.2 or newer")
        self.port = free_port()
        self._home = home / "redis"
        self._home.mkdir()
        words = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        words += ["--dir", str(self._home), "--logfile", str(self._home / "log")]
        if durable:
            words += ["--appendonly", "yes", "--appendfsync", "always"]
        self._command = words
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self._network = Network(self.port)
        # Its types allow for texts, too.
        self.client: Any = redis.Redis(port=self.port, socket_timeout=30)

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            if time.monotonic() > deadline:
                raise RuntimeError(f"torture: redis-server on port {self.port} does not answer")
            time.sleep(0.01)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def freeze(self, frozen: bool) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def line(self) -> Line:
        return self._network.line()

    def url(self, line: Line | None = None) -> str:
        return f"redis://127.0.0.1:{self.port if line is None else line.port}/0"

    def cut_all(self) -> None:
        """Have the server close every connection but ours."""
        self.client.client_kill_filter(_type="normal", skipme=True)

    def places(self) -> Iterator[tuple[str, bytes]]:
        for key in self.client.scan_iter(count=1000):
            if not key.startswith(NO_MESSAGES):
                yield key.decode(errors="replace"), key + b"\n" + self._content(key)

    def _content(self, key: bytes) -> bytes:
        readers: dict[bytes, Callable[[], Any]] = {
            b"list": lambda: self.client.lrange(key, 0, -1),
            b"hash": lambda: [x for pair in self.client.hgetall(key).items() for x in pair],
            b"zset": lambda: self.client.zrange(key, 0, -1),
            b"set": lambda: self.client.smembers(key),
            b"string": lambda: [self.client.get(key) or b""],
            b"stream": lambda: [repr(self.client.xrange(key)).encode()],
        }
        reader = readers.get(self.client.type(key))
        return b"\n".join(reader()) if reader else b""

    def size(self) -> int:
        with contextlib.suppress(redis.RedisError):
            return int(self.client.info("memory")["used_memory"])
        return 0

    def close(self) -> None:
        self.client.close()
        self._network.close()
        if self._process is not None and self._process.poll() is None:
            self.freeze(False)
            self.kill()


class SqliteStore(Store):
    """A file; on a small file system of its own where one can be mounted, to be filled up."""

    def __init__(self, home: Path, *, megabytes: int = 512) -> None:
        self._home = home / "disk"
        self._home.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self._home)]
        self._mounted = (
            os.geteuid() == 0
            and subprocess.run(words, capture_output=True, check=False).returncode == 0
        )
        self.path = self._home / "store.sqlite3"

    @property
    def fillable(self) -> bool:
        return self._mounted

    def fill(self, full: bool) -> None:
        ballast = self._home / "ballast"
        if not full:
            ballast.unlink(missing_ok=True)
            return
        with ballast.open("wb") as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        # posix_fallocate says ENOSPC at once, and takes nothing then.
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)

    def line(self) -> None:
        return None

    def url(self, line: Line | None = None) -> str:  # noqa: ARG002 - there is no network
        return f"sqlite:///{self.path}"

    def places(self) -> Iterator[tuple[str, bytes]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for table in [name for (name,) in names if not _keeps_results(name)]:
                for row in database.execute(f'SELECT * FROM "{table}"'):
                    yield table, repr(row).encode()

    def size(self) -> int:
        return sum(each.stat().st_size for each in _files(self._home, "store.sqlite3*"))

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "-l", str(self._home)], check=False)


def _keeps_results(table: str) -> bool:
    return "result" in table or "join" in table


class PostgresStore(Store):
    """A server that answers a commit when its log is written."""

    server = True
    patience_option = "timeout"

    def __init__(self, home: Path) -> None:  # noqa: ARG002 - it may not be another user's
        # Workers are many and short-lived, and die without a goodbye.
        self._server = PrivatePostgres("max_connections=300")
        self.start()
        self._network = Network(self._server.port)

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def end(self) -> None:
        self._server.stop()

    def freeze(self, frozen: bool) -> None:
        self._server.freeze(frozen)

    def line(self) -> Line:
        return self._network.line()

    def url(self, line: Line | None = None) -> str:
        return self._server.url(port=None if line is None else line.port)

    def cut_all(self) -> None:
        """Have the server end every session but ours."""
        with self._server.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def places(self) -> Iterator[tuple[str, bytes]]:
        with self._server.admin() as admin:
            names = admin.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'umbel' "
                "AND table_name <> 'notice'"
            ).fetchall()
            for table in [name for (name,) in names if not _keeps_results(name)]:
                for row in admin.execute(f"SELECT * FROM umbel.{table}".encode()):
                    yield table, repr(row).encode()

    def size(self) -> int:
        with contextlib.suppress(psycopg.Error), self._server.admin() as admin:
            ((size,),) = admin.execute("SELECT pg_database_size('postgres')").fetchall()
            return int(size)
        return 0

    def close(self) -> None:
        self._network.close()
        self._server.close()


def _files(home: Path, pattern: str) -> Sequence[Path]:
    return [each for each in home.glob(pattern) if each.exists()]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith(b"+PONG")
    except OSError:
        return False


def free_port() -> int:
    """Return a TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


STORES: dict[str, Callable[[Path], Store]] = {
    "sqlite": SqliteStore,
    "redis": RedisStore,
    "postgresql": PostgresStore,
}
