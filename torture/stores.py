"""The stores there are to torture: SQLite and PostgreSQL here, each server's in its own module.

A new kind of store is one class and one entry in ``STORES``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psycopg

from torture.network import Line, Network
from torture.postgres import PrivatePostgres
from torture.rabbitmq import RabbitStore
from torture.redis_store import RedisStore
from torture.store import Store


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
    return any(word in table for word in ("result", "join", "group"))


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


STORES: dict[str, Callable[[Path], Store]] = {
    "sqlite": SqliteStore,
    "redis": RedisStore,
    "postgresql": PostgresStore,
    "amqp": RabbitStore,
    "amqp-quorum": partial(RabbitStore, queue_type="quorum"),
}
