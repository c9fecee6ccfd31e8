"""What does a limit shared by all workers cost, and does it hold?

Sends tasks with keys to a Redis of its own, runs them on several workers, once without and once
with a limit of concurrency per key, and looks at when each run began and ended. ``mixed``: the keys
come in random order; ``grouped``: all tasks of one key, then all of the next, so that claims are
full of tasks that must wait.

    PYTHONPATH=packages/umbel/src python -m benchmarks.decisions.limits
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.private_redis import private_redis

APP = """
import asyncio, os, time
from umbel import Limit, Umbel
app = Umbel("limits", broker={url!r}, backend=None)
notes = os.open({home!r} + "/runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@app.task(ignore_result=True, acks_late=True, limits={limits})
async def visit(key, number):
    began = time.monotonic()
    await asyncio.sleep({seconds})
    os.write(notes, f"{{key}} {{began:.6f}} {{time.monotonic():.6f}}\\n".encode())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--slots", default="50", help="of each worker, in one process")
    parser.add_argument("--most", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.005)
    parser.add_argument("--order", default="mixed,grouped")
    given = parser.parse_args()
    for order in given.order.split(","):
        plain = _run(given, order, limited=False)
        print(f"{order}: without a limit {_told(plain)}")
        limited = _run(given, order, limited=True)
        share = limited["rate"] / plain["rate"]
        print(f"{order}: with a limit of {given.most} {_told(limited)}; {share:.0%} of the rate")


def _told(found: dict[str, float]) -> str:
    return (
        f"{found['rate']:,.0f} tasks/s, {found['runs']:,} runs of {found['keys']:,} keys, at most"
        f" {found['most']} of a key at once, at most {found['gap']:.2f} s between two of a key"
    )


def _run(given: Any, order: str, *, limited: bool) -> dict[str, float]:
    with private_redis() as server, tempfile.TemporaryDirectory() as home:
        limits = f"[Limit(concurrency={given.most}, key='key')]" if limited else "()"
        text = APP.format(url=server.url(), home=home, limits=limits, seconds=given.seconds)
        (Path(home) / "limits_app.py").write_text(text, encoding="utf-8")
        sys.path.insert(0, home)
        sys.modules.pop("limits_app", None)
        limits_app = importlib.import_module("limits_app")
        sys.path.remove(home)
        calls = [(f"k{n * given.keys // given.tasks}", n) for n in range(given.tasks)]
        if order == "mixed":
            random.Random(7).shuffle(calls)
        limits_app.visit.send_many(calls)
        words = [sys.executable, "-m", "umbel", "worker", "-A", "limits_app", "-l", "error"]
        words += ["--quiet", "-P", "asyncio", "-c", given.slots]
        workers = [
            subprocess.Popen([*words, "-n", f"w{n}"], cwd=home) for n in range(given.workers)
        ]
        try:
            _wait(limits_app.app)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
            limits_app.app.close()
        return _looked_at(Path(home), given.tasks)


def _wait(app: Any) -> None:
    """Wait until nothing is left, whatever it waits for."""
    quiet = 0
    while quiet < 3:
        time.sleep(0.1)
        (stats,) = app.broker.stats(["celery"])
        left = stats.ready + stats.claimed + stats.delayed + stats.blocked
        quiet = 0 if left else quiet + 1


def _looked_at(home: Path, wanted: int) -> dict[str, float]:
    runs: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in (home / "runs").read_text(encoding="utf-8").splitlines():
        key, began, ended = line.split()
        runs[key].append((float(began), float(ended)))
    count = sum(map(len, runs.values()))
    if count != wanted:
        raise SystemExit(f"{count} runs were noted of {wanted}")
    every = [moment for spans in runs.values() for moment in spans]
    first, last = min(began for began, _ in every), max(ended for _, ended in every)
    return {
        # The first and the last twentieth are workers that begin and end.
        "rate": _rate(sorted(ended for _, ended in every)),
        "most": max(map(_most_at_once, runs.values())),
        "gap": max(_longest_gap(spans) for spans in runs.values()),
        "runs": count,
        "keys": len(runs),
        "seconds": last - first,
    }


def _rate(ends: list[float]) -> float:
    low, high = len(ends) // 20, len(ends) - len(ends) // 20 - 1
    return (high - low) / (ends[high] - ends[low])


def _most_at_once(spans: list[tuple[float, float]]) -> int:
    moments = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _longest_gap(spans: list[tuple[float, float]]) -> float:
    """The longest time from a beginning to the next of the same key: between them some waited."""
    begins = sorted(began for began, _ in spans)
    return max((b - a for a, b in itertools.pairwise(begins)), default=0.0)


if __name__ == "__main__":
    main()
