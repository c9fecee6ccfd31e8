"""What health costs a worker: ``memory``, CPU of a ``scrape``, CPU of counting a ``task``.

python tools/measure_health.py memory|scrape|task
"""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import Any


def resident() -> float:
    """MiB of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory() -> None:

    without = resident()

    server = resident()
    import prometheus_client  # noqa: F401

    print(f"without {without:.1f} MiB, server +{server - without:.1f}", end=", ")
    print(f"prometheus_client +{resident() - server:.1f}")


def counted(names: int, rounds: int) -> tuple[Any, float]:
    """A meter that has seen tasks of so many names, and the seconds of CPU one of them took."""
    from umbel.clock import SystemClock
    from umbel.model.assignment import Report
    from umbel.model.delivery import Ack
    from umbel.worker.health.meter import Meter

    meter: Any = Meter(SystemClock(), names)
    report = Report(1, "SUCCESS", Ack(), (), (), 0.3)
    entries: list[Any] = [
        SimpleNamespace(peek=SimpleNamespace(task=f"shop.task_{n}"), waits_since=0.0)
        for n in range(names)
    ]
    begin = time.process_time()
    for _ in range(rounds):
        for entry in entries:
            meter.settled(entry, report)
    return meter, (time.process_time() - begin) / rounds / names


def task() -> None:
    print(f"{counted(100, 2000)[1] * 1e9:.0f} ns of CPU a task")


def scrape() -> None:
    from umbel.worker.health.metrics import Reading, render

    plan: Any = SimpleNamespace(node="celery@here", pool="prefork", profile="umbel")
    intake: Any = SimpleNamespace(claimed=1, rescued=0, claims_lost=0)
    reading = Reading(plan, None, True, intake, counted(100, 10)[0], None, 0.0)
    render(reading, "")
    begin = time.process_time()
    for _ in range(50):
        _, body = render(reading, "")
    used = (time.process_time() - begin) / 50
    print(f"{used * 1000:.1f} ms of CPU, {len(body)} bytes, 100 task names")
    print(f"at one scrape in 15 s: {used / 15:.3%} of one core")


if __name__ == "__main__":
    {"memory": memory, "scrape": scrape, "task": task}[sys.argv[1]]()
