"""A PostgreSQL server of the benchmark's own, with an empty database for each measurement.

Used by the harness. The server is ``torture.postgres``'s; ``fsync`` is off for all peers alike, so
that the disk of this machine is not what is measured.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
from torture.postgres import PrivatePostgres

DATABASE = "bench"
_TICK = os.sysconf("SC_CLK_TCK")


class BenchPostgres:
    """Started when it is made; ``close`` ends it. Raises RuntimeError without the programs."""

    def __init__(self) -> None:
        self._server = PrivatePostgres("shared_buffers=256MB", "max_wal_size=4GB").start()
        self.url = self._server.url(DATABASE)

    def reset(self) -> None:
        """Make the database anew."""
        with self._server.admin() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
            admin.execute(f"CREATE DATABASE {DATABASE}".encode())

    def cpu_seconds(self) -> float:
        """Return what all of its processes have spent, ended ones too."""
        return sum(_spent(pid) for pid in self._server.everyone())

    def count(self, query: str) -> int:
        """Return the one number that this query tells; 0 where its tables are not there."""
        session: psycopg.Connection[Any]
        with psycopg.connect(self.url) as session:
            try:
                rows = session.execute(query.encode()).fetchall()
            except psycopg.errors.UndefinedTable:
                return 0
        return int(rows[0][0])

    def close(self) -> None:
        self._server.close()


def _spent(pid: int) -> float:
    try:
        text = (Path("/proc") / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return 0.0
    # utime, stime, and those of children that were waited for (proc(5)).
    return sum(int(each) for each in text.rpartition(")")[2].split()[11:15]) / _TICK
