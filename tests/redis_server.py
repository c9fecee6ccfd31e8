"""A Redis server of a test's own, which it may stop, kill, freeze and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PATIENCE = 20.0


def free_port() -> int:
    """Return a TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RedisServer:
    """Listens on a free port of 127.0.0.1 and on a Unix socket; keeps an append-only file if told.

    Skips the test where there is no ``redis-server``.
    """

    def __init__(self, *words: str, persistent: bool = False) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("no redis-server in PATH")
        self.port = free_port()
        self._home = tempfile.TemporaryDirectory(prefix="umbel-redis-")
        self.socket_path = str(Path(self._home.name) / "redis.sock")
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--dir", self._home.name, "--unixsocket", self.socket_path]
        self._command += ["--appendonly", "yes" if persistent else "no"]
        self._command += ["--appendfsync", "always"] if persistent else []
        self._command += ["--logfile", str(Path(self._home.name) / "log"), *words]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0, password: str = "") -> str:
        """Return the address of one database."""
        secret = f":{password}@" if password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/{database}"

    def start(self) -> RedisServer:
        """Start it and return once it accepts connections and has loaded its data."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._answers():
                return self
            time.sleep(0.01)
        raise AssertionError("redis-server does not answer")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return not probe.recv(100).startswith(b"-LOADING")
        except OSError:
            return False

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it without closing anything: connections stay open and nobody answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()
        self._home.cleanup()
