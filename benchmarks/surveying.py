"""One measurement of one peer: a fresh directory, an empty store, processes, figures.

Called by ``scenarios``. Everything a measurement starts is ended when it is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import processes
from benchmarks.catalogue import Peer, Shape
from benchmarks.counter import Counter
from benchmarks.environments import ROOT, python_of
from benchmarks.private_postgres import BenchPostgres
from benchmarks.private_redis import PrivateRedis

RESULT_SECONDS = 5.0
"""Seconds a worker may take to store the last results after the last task."""

Server: TypeAlias = PrivateRedis | BenchPostgres

PATIENCE = 60.0
"""Seconds without one finished task after which a measurement is given up."""


class Bench:
    """Where one peer is measured once."""

    def __init__(
        self, peer: Peer, server: Server, home: Path, shape: Shape, *, results: bool
    ) -> None:
        self.peer = peer
        self.server = server
        self.home = home
        self.shape = shape
        self.python = str(python_of(peer.environment))
        self.counter = Counter(home)
        self.log = home / "worker.log"
        self.environment = self._environment(results)

    def _environment(self, results: bool) -> dict[str, str]:
        paths = [str(ROOT)]
        if self.peer.environment is None:
            paths.append(str(ROOT / "packages" / "umbel" / "src"))
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(paths),
            "BENCH_HOME": str(self.home),
            "BENCH_TALLY": str(self.counter.path),
            **_address(self.server),
            "BENCH_RESULTS": "1" if results else "0",
            "BENCH_SLOTS": str(self.shape.slots),
            "BENCH_STORE": self.peer.store,
            **self.peer.extra,
            **self.peer.shape_extra.get(self.shape, {}),
        }

    @contextmanager
    def worker(self) -> Iterator[processes.Worker]:
        """Run the peer's worker."""
        commands = [[self.python, *command] for command in self.peer.commands[self.shape]]
        worker = processes.Worker(commands, self.environment, self.log)
        try:
            yield worker
        finally:
            worker.stop()

    def send(self, what: str, amount: float) -> Mapping[str, Any]:
        """Have a client ``send``, ``send_many``, ``fill`` or ``call``; return its figures.

        The server's CPU seconds meanwhile are added as ``server_cpu``.
        """
        errors = self.home / "client.log"
        command = [self.python, "-m", f"benchmarks.peers.{self.peer.module}.client"]
        with errors.open("wb") as stderr:
            client = subprocess.Popen(
                [*command, what, str(amount)],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        try:
            self._line(client, errors)
            before = self.server.cpu_seconds()
            self._go(client)
            figures: dict[str, Any] = self._line(client, errors)
            figures["server_cpu"] = self.server.cpu_seconds() - before
            self._go(client)
            client.wait(10)
        finally:
            client.kill()
            client.communicate()
        return figures

    @staticmethod
    def _go(client: subprocess.Popen[bytes]) -> None:
        assert client.stdin is not None
        client.stdin.write(b"go\n")
        client.stdin.flush()

    @staticmethod
    def _line(client: subprocess.Popen[bytes], errors: Path) -> Any:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line:
            tail = "\n".join(errors.read_text(errors="replace").splitlines()[-15:])
            raise RuntimeError(f"the client ended with status {client.wait()}:\n{tail}")
        return json.loads(line)

    def wait_done(self, worker: processes.Worker, count: int, pause: float = 0.002) -> None:
        """Return when ``count`` tasks have finished. Raises RuntimeError when nothing moves."""
        seen, since = self.counter.value(), time.monotonic()
        while (now := self.counter.value()) < count:
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise RuntimeError(f"only {now} of {count} tasks finished; nothing moves")
            worker.check_alive()
            time.sleep(pause)

    def wait_stored(self, count: int) -> None:
        """Return when ``count`` results are kept. Raises RuntimeError when they do not come.

        Only that there are as many keys as tasks can be told for all peers alike; on SQLite nothing
        is checked, the tables being the peer's own affair.
        """
        if self.peer.store == "sqlite":
            return
        deadline = time.monotonic() + RESULT_SECONDS
        while (kept := self._kept()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{count} tasks finished, but only {kept} results are kept")
            time.sleep(0.01)

    def _kept(self) -> int:
        if isinstance(self.server, BenchPostgres):
            return self.server.count(self.peer.result_query)
        with self.server.client() as client:
            if self.peer.result_hash is not None:
                return int(client.hlen(self.peer.result_hash))
            return int(client.dbsize())


def _address(server: Server) -> dict[str, str]:
    if isinstance(server, BenchPostgres):
        return {"BENCH_POSTGRES_URL": server.url}
    return {"BENCH_REDIS_PORT": str(server.port)}


@contextmanager
def bench(
    peer: Peer, server: Server, shape: Shape = Shape.ONE, *, results: bool = True
) -> Iterator[Bench]:
    """Give a peer an empty store and a fresh directory."""
    server.reset()
    home = Path(tempfile.mkdtemp(prefix="umbel-bench-"))
    try:
        yield Bench(peer, server, home, shape, results=results)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(home)
