"""What does one task cost the processes of a worker?

Fills a queue on a Redis of its own, starts ``umbel worker -c 2`` on it, and reads the CPU time of
supervisor, template and executors between the points where 5 % and 95 % are done. Run it before and
after a change of ``worker/``: CPU a task is steadier than the rate.

    PYTHONPATH=packages/umbel/src python -m benchmarks.decisions.worker_cpu
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.private_redis import private_redis

APP = """
from umbel import Umbel
app = Umbel("cpu", broker={url!r}, backend={url!r})

@app.task
def add(x, y):
    return x + y
"""
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=60_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--concurrency", default="2")
    given = parser.parse_args()
    runs = []
    for _ in range(given.repeat):
        with private_redis() as server, tempfile.TemporaryDirectory() as home:
            runs.append(_run(server.url(), Path(home), given))
        print("  ".join(f"{name} {value:,.1f}" for name, value in runs[-1].items()))
    print("median:")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"  {name}: {statistics.median(values):,.1f} ({min(values):,.1f}-{max(values):,.1f})")


def _run(url: str, home: Path, given: Any) -> dict[str, float]:
    (home / "cpu_app.py").write_text(APP.format(url=url), encoding="utf-8")
    sys.path.insert(0, str(home))
    sys.modules.pop("cpu_app", None)
    cpu_app = importlib.import_module("cpu_app")

    sys.path.remove(str(home))
    total = given.tasks
    cpu_app.add.send_many((n, n) for n in range(total))
    words = [sys.executable, "-m", "umbel", "worker", "-A", "cpu_app", "-l", "error", "--quiet"]
    words += ["-P", given.pool, "-c", given.concurrency]
    worker = subprocess.Popen(words, cwd=home)
    try:
        first = _wait(cpu_app.app, total * 0.95)
        started, before = time.monotonic(), _cpu(worker.pid)
        last = _wait(cpu_app.app, total * 0.05)
        seconds, after = time.monotonic() - started, _cpu(worker.pid)
        memory = _resident(worker.pid)
        _wait(cpu_app.app, 0)
    finally:
        worker.terminate()
        worker.wait()
        cpu_app.app.close()
    done = first - last
    spent = {pid: (ticks - before.get(pid, 0)) / TICK * 1e6 / done for pid, ticks in after.items()}
    supervisor = spent.pop(worker.pid)
    return {
        "tasks/s": done / seconds,
        "supervisor us": supervisor,
        "executors us": sum(spent.values()),
        "all us": supervisor + sum(spent.values()),
        "supervisor MB": memory,
    }


def _wait(app: Any, most: float) -> int:
    while True:
        (stats,) = app.broker.stats(["celery"])
        left: int = stats.ready + stats.claimed
        if left <= most:
            return left
        time.sleep(0.005)


def _cpu(pid: int) -> dict[int, int]:
    """User and system ticks of a process and all below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = {pid: int(fields[11]) + int(fields[12])}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        ticks |= _cpu(int(child))
    return ticks


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
