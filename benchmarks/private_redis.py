"""A Redis server of the benchmark's own: free port, no persistence, gone at the end.

Used by the harness and by the decision prototypes. It must never touch a server it did not start,
so that the CPU a server spent is what this benchmark made it spend.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from benchmarks import processes

START_SECONDS = 10.0


def free_port() -> int:
    """Return a TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    """Start a server, hand it over, and end it. Raises RuntimeError without the binary."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise RuntimeError(
            "benchmarks: no redis-server in PATH; install Redis 6.2 or newer to measure on it"
        )
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="umbel-bench-") as home:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", home]
        command += ["--appendonly", "no", "--logfile", str(Path(home) / "log")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            server = PrivateRedis(port, process.pid)
            server.wait_ready()
            yield server
        finally:
            process.terminate()
            process.wait()


class PrivateRedis:
    """A running server: where it listens and which process it is."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid

    def url(self, database: int = 0) -> str:
        """Return the address of one database."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def client(self, database: int = 0) -> Redis:
        """Return a client of one database that leaves replies as bytes."""
        return Redis(host="127.0.0.1", port=self.port, db=database)

    def reset(self) -> None:
        """Empty it."""
        client = self.client()
        client.flushall()
        client.close()

    def cpu_seconds(self) -> float:
        """Return what it has spent."""
        return processes.cpu_seconds([self.pid])

    def wait_ready(self) -> None:
        """Return once it answers; raises RuntimeError after ten seconds."""
        deadline = time.monotonic() + START_SECONDS
        client = self.client()
        while time.monotonic() < deadline:
            try:
                client.ping()
            except RedisConnectionError:
                time.sleep(0.02)
            else:
                client.close()
                return
        raise RuntimeError(f"benchmarks: redis-server on port {self.port} did not come up")
