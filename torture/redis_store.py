"""A private Redis server under torture. ``stores`` opens it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from torture.network import Line, Network
from torture.store import START_SECONDS, Store, free_port

RESULT_PREFIX = b"celery-task-meta-"
NO_MESSAGES = (RESULT_PREFIX, b"celery-taskset-meta-")
"""Results and the counts of chords on Redis, of both peers: not places where messages lie."""


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


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith(b"+PONG")
    except OSError:
        return False
