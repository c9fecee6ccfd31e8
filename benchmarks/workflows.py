"""``python -m benchmarks workflows``: groups, chains and chords beside Celery, and their size.

Both libraries on a Redis of the benchmark's own, a worker of two processes each, one after the
other; each workflow is sent and waited for, ``--repeat`` times. Then, without a worker, how much
memory it takes to send a large group, and how many bytes nested chords take in the store.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.environments import ROOT, python_of
from benchmarks.private_redis import PrivateRedis, private_redis
from benchmarks.processes import Worker

LIBRARIES = ("umbel", "celery")
SPEEDS = (("group", 10_000), ("chain", 1_000), ("chord", 1_000))
PATIENCE = 1800.0
CLIENT = "benchmarks.peers.workflow_client"
TASKS = "benchmarks.peers.workflow_tasks"
_WORKER = ["-A", TASKS, "worker", "-l", "error", "-c", "2"]
_QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
ARGUMENTS = {
    "umbel": ["-m", "umbel", *_WORKER],
    "celery": ["-m", "celery", *_WORKER, *_QUIET],
}

Figures = dict[str, float]


class Row(msgspec.Struct, frozen=True):
    """What one library showed for one workflow: a mapping for each repeat."""

    workflow: str
    library: str
    figures: list[Figures]

    def median(self, name: str) -> float:
        """Return the middle one of these figures."""
        return statistics.median(each[name] for each in self.figures)


def measure(*, repeat: int, scale: float = 1.0, libraries: Sequence[str] = LIBRARIES) -> list[Row]:
    """Measure everything; ``scale`` makes all of it smaller, to see that it works."""
    found: list[Row] = []
    with private_redis() as server:
        for kind, full in SPEEDS:
            size = max(10, int(full * scale))
            for library in libraries:
                with _worker(library, server) as home:
                    told = _client(library, server, home, kind, size, repeat)
                found.append(_told(Row(f"{kind} of {size:,}", library, told)))
        large = max(100, int(100_000 * scale))
        for library in libraries:
            server.reset()
            told = [_alone(library, server, "memory", large)]
            found.append(_told(Row(f"memory to send a group of {large:,}", library, told)))
        for library in libraries:
            server.reset()
            told = [_alone(library, server, "nested", 10, 5)]
            found.append(_told(Row("five nested chords of ten", library, told)))
    return found


def _told(row: Row) -> Row:
    figures = ", ".join(f"{name} {row.median(name):,.3f}" for name in row.figures[0])
    print(f"  {row.workflow:32} {row.library:8} {figures}", file=sys.stderr, flush=True)
    return row


def _python(library: str) -> str:
    if library == "umbel":
        return sys.executable
    return os.environ.get("UMBEL_TEST_CELERY_PYTHON") or str(python_of("celery"))


def _environment(library: str, server: PrivateRedis, home: str) -> dict[str, str]:
    paths = [str(ROOT)]
    if library == "umbel":
        paths.append(str(ROOT / "packages" / "umbel" / "src"))
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(paths),
        "BENCH_HOME": home,
        "BENCH_LIBRARY": library,
        "BENCH_REDIS_PORT": str(server.port),
    }


@contextmanager
def _worker(library: str, server: PrivateRedis) -> Iterator[str]:
    server.reset()
    with tempfile.TemporaryDirectory(prefix="umbel-bench-", ignore_cleanup_errors=True) as home:
        command = [_python(library), *ARGUMENTS[library]]
        worker = Worker([command], _environment(library, server, home), Path(home) / "log")
        try:
            yield home
        finally:
            worker.stop()


def _client(
    library: str, server: PrivateRedis, home: str, what: str, *numbers: int
) -> list[Figures]:
    done = subprocess.run(
        [_python(library), "-m", CLIENT, what, *map(str, numbers)],
        env=_environment(library, server, home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise RuntimeError(f"benchmarks: {library} could not do {what} of {numbers}:\n{last}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _alone(library: str, server: PrivateRedis, what: str, *numbers: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="umbel-bench-") as home:
        (told,) = _client(library, server, home, what, *numbers)
    return told


def markdown(found: Sequence[Row]) -> str:
    """Return the medians as a table, with how many times Celery's rate each is."""
    lines = ["| workflow | library | median | spread | to Celery |", "|---|---|---|---|---|"]
    celery = {row.workflow: row for row in found if row.library == "celery"}
    for row in found:
        name, unit = next(
            (name, unit)
            for name, unit in (("tasks/s", " tasks/s"), ("MB", " MB"), ("kB", " kB"))
            if name in row.figures[0]
        )
        values = sorted(each[name] for each in row.figures)
        ratio = ""
        if row.library != "celery" and row.workflow in celery:
            other = celery[row.workflow].median(name)
            better = (
                row.median(name) / other
                if name == "tasks/s"
                else other / max(0.1, row.median(name))
            )
            ratio = f"{better:.1f}x"
        spread = f"{values[0]:,.1f} to {values[-1]:,.1f}"
        middle = f"{row.median(name):,.1f}{unit}"
        lines.append(f"| {row.workflow} | {row.library} | {middle} | {spread} | {ratio} |")
    return "\n".join(lines)
