"""By how much does throughput fall when a monitor hears of every task? Beside Celery's own fall.

Fills a queue on a Redis of its own and has one worker of two processes empty it: without events,
with ``-E`` and nobody listening, and with ``-E`` and a monitor. The monitor takes what is told and
does nothing with it, so that it is the worker's cost that is seen; the three take turns.

    PYTHONPATH=packages/umbel/src python -m benchmarks.decisions.events_cost
    ... --celery .venv-celery/bin/python      # the same for a worker of Celery
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.decisions.worker_cpu import TICK, _cpu
from benchmarks.private_redis import PrivateRedis, private_redis
from umbel import Umbel

UMBEL = """
from umbel import Umbel
app = Umbel("bench", broker={url!r}, backend={url!r}, profile="celery")
"""
CELERY = """
from celery import Celery
app = Celery("bench", broker={url!r}, backend={url!r})
"""
TASK = """

@app.task(name="bench.add", acks_late=True)
def add(x, y):
    return x + y
"""
MONITOR = """
import redis, sys
line = redis.Redis.from_url(sys.argv[1]).pubsub()
line.psubscribe("/*.celeryev/*")
for message in line.listen():
    if message["type"] == "psubscribe":
        print("listening", flush=True)
"""
WAYS = ("off", "alone", "heard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=40_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--celery", help="the Python of an environment with Celery")
    given = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    costs: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(given.repeat):
        for way in WAYS[number % 3 :] + WAYS[: number % 3]:
            rate, cost = _run(given, way)
            rates[way].append(rate)
            costs[way].append(cost)
    base, base_cost = statistics.median(rates["off"]), statistics.median(costs["off"])
    who = "Celery" if given.celery else "Umbel"
    for way in WAYS:
        rate, cost = statistics.median(rates[way]), statistics.median(costs[way])
        each = ", ".join(f"{one:,.0f}" for one in sorted(rates[way]))
        print(
            f"{who}, events {way:6}: {rate:8,.0f} tasks/s ({rate / base - 1:+.0%}; {each}),"
            f" {cost:6.1f} us of CPU a task ({cost / base_cost - 1:+.0%})"
        )


def _run(given: Any, way: str) -> tuple[float, float]:
    with private_redis() as server, tempfile.TemporaryDirectory() as home:
        url = server.url()
        text = (CELERY if given.celery else UMBEL).format(url=url) + TASK
        (Path(home) / "bench_app.py").write_text(text, encoding="utf-8")
        _send(url, given.tasks)
        monitor = _monitor(url) if way == "heard" else None
        env = {k: v for k, v in os.environ.items() if not (given.celery and k == "PYTHONPATH")}
        program = (
            [given.celery, "-m", "celery"] if given.celery else [sys.executable, "-m", "umbel"]
        )
        words = [*program, "-A", "bench_app", "worker", "-l", "error", "-c", "2"]
        words += ["--without-gossip", "--without-mingle"] if given.celery else ["--quiet"]
        words += [] if way == "off" else ["-E"]
        worker = subprocess.Popen(words, cwd=home, env=env, stdout=subprocess.DEVNULL)
        try:
            return _measured(server, worker.pid, given.tasks)
        finally:
            worker.terminate()
            worker.wait()
            if monitor is not None:
                monitor.kill()
                monitor.wait()


def _send(url: str, count: int) -> None:
    app = Umbel("bench", broker=url, backend=url, profile="celery", set_as_current=False)
    task = app.task(lambda x, y: x + y, name="bench.add")
    task.send_many((n, n) for n in range(count))
    app.close()


def _monitor(url: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", MONITOR, url]
    monitor = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert monitor.stdout is not None
    assert monitor.stdout.readline() == "listening\n"
    return monitor


def _measured(server: PrivateRedis, pid: int, total: int) -> tuple[float, float]:
    first = _wait(server, total * 0.9)
    began, before = time.monotonic(), sum(_cpu(pid).values())
    last = _wait(server, total * 0.1)
    seconds, after = time.monotonic() - began, sum(_cpu(pid).values())
    return (first - last) / seconds, (after - before) / TICK * 1e6 / (first - last)


def _wait(server: PrivateRedis, most: float) -> int:
    client = server.client()
    while True:
        left = int(client.llen("celery"))
        if left <= most:
            return left
        time.sleep(0.01)


if __name__ == "__main__":
    main()
