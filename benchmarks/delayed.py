"""``python -m benchmarks delayed``: what a million resting tasks cost, and how late they start.

For each store: a worker of two processes warms up; its memory is measured; the tasks are published,
due in a day; its memory is measured again. Then, with the million still there, ``--due`` more
become due one after the other at ``--rate`` a second, and in the end ``--burst`` at one moment. A
run returns how long after its time it began, by the clock of the machine, so store and worker must
be on this one.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.figures import percentile
from benchmarks.private_redis import private_redis
from benchmarks.processes import Worker, pss_bytes
from umbel import Umbel
from umbel.model.queues import Outgoing, Queue

QUEUE = "celery"
CHUNK = 1000
PATIENCE = 600.0
TASKS = """
import time
from umbel import Umbel
app = Umbel("delayed", broker={url!r}, backend={url!r})

@app.task(name="late")
def late(due):
    return [time.time() - due, time.time()]
"""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one store showed. Bytes and seconds."""

    store: str
    tasks: int
    publish_seconds: float
    memory_before: int
    memory_after: int
    find_seconds: float
    """To find by its id the task that is due last."""
    lateness: Sequence[float]
    burst: int
    burst_seconds: float
    """From the moment they were due to the start of the last."""
    longest_gap: float
    """Between the starts of two tasks of the burst."""


def measure(store: str, *, tasks: int, due: int, rate: float, burst: int) -> Found:
    """Run the scenario on one store, ``redis`` or ``sqlite``."""
    with _place(store) as url, tempfile.TemporaryDirectory(prefix="umbel-bench-") as home:
        (Path(home) / "delayed_tasks.py").write_text(TASKS.format(url=url))
        app = Umbel("delayed", broker=url, backend=url, set_as_current=False)
        worker = _worker(Path(home))
        try:
            # Once through everything, so that what is loaded late is loaded.
            _collect(app, publish(app, 500, spread(time.time())))
            time.sleep(2.0)
            before = pss_bytes(worker.pids())
            began = time.monotonic()
            resting = publish(app, tasks, spread(time.time() + 86_400, 1000.0))
            published = time.monotonic() - began
            time.sleep(2.0)
            after = pss_bytes(worker.pids())
            worker.check_alive()
            began = time.monotonic()
            app.delayed.get(resting[-1])
            find = time.monotonic() - began
            late = _collect(app, publish(app, due, spread(time.time() + 5 + due / 4000, rate)))
            moment = time.time() + max(5.0, burst / 4000)
            ended = _collect(app, publish(app, burst, spread(moment)))
            starts = sorted(start for _, start in ended)
            worker.check_alive()
        finally:
            worker.stop()
            app.close()
    return Found(
        store=store,
        tasks=tasks,
        publish_seconds=published,
        memory_before=before,
        memory_after=after,
        find_seconds=find,
        lateness=sorted(seconds for seconds, _ in late),
        burst=burst,
        burst_seconds=starts[-1] - moment if starts else 0.0,
        longest_gap=max((b - a for a, b in itertools.pairwise(starts)), default=0.0),
    )


@contextlib.contextmanager
def _place(store: str) -> Iterator[str]:
    if store == "redis":
        with private_redis() as server:
            yield server.url()
    else:
        with tempfile.TemporaryDirectory(prefix="umbel-bench-") as home:
            yield f"sqlite:///{home}/delayed.sqlite3?synchronous=normal"


def _worker(home: Path) -> Worker:
    environment = {**os.environ, "BENCH_HOME": str(home)}
    command = [sys.executable, "-m", "umbel", "worker", "-A", "delayed_tasks", "-l", "error"]
    return Worker([[*command, "-c", "2"]], environment, home / "log")


def spread(moment: float, rate: float = math.inf) -> Callable[[int], float]:
    """Return when the n-th task is due: so many a second, from a moment (Unix seconds) on."""
    return lambda number: moment + number / rate


def publish(app: Umbel, count: int, due_at: Callable[[int], float]) -> list[str]:
    """Publish ``count`` tasks, the n-th due at ``due_at(n)``; return their ids."""
    publisher = app.broker.open_publisher()
    queue, ids = Queue(QUEUE), []
    template = app.plan_for("late")
    for first in range(0, count, CHUNK):
        batch: list[Outgoing] = []
        for number in range(first, min(first + CHUNK, count)):
            due = due_at(number)
            moment = datetime.fromtimestamp(due, UTC)
            call = template.prepare((due,), {}, {"eta": moment, "queue": QUEUE})
            ids.append(call.message.id)
            batch.append(msgspec.structs.replace(call.outgoing(), queue=queue, due_at=moment))
        publisher.publish(batch, timeout=60.0)
    publisher.close()
    return ids


def _collect(app: Umbel, ids: Sequence[str]) -> list[tuple[float, float]]:
    """Wait for the runs; return for each its lateness and its start."""
    found: dict[str, tuple[float, float]] = {}
    deadline = time.monotonic() + PATIENCE
    while len(found) < len(ids):
        if time.monotonic() > deadline:
            raise RuntimeError(f"benchmarks: only {len(found)} of {len(ids)} delayed tasks ran")
        time.sleep(1.0)
        open_ids = [one for one in ids if one not in found]
        for first in range(0, len(open_ids), CHUNK):
            records = app.result_backend.fetch(open_ids[first : first + CHUNK])
            if not records:
                break
            for task_id, record in records.items():
                if record.final:
                    late, start = msgspec.json.decode(record.document)["result"]
                    found[task_id] = late, start
    return list(found.values())


def markdown(found: Sequence[Found]) -> str:
    """Return the figures as a table."""
    rows = [
        "| store | tasks | published in | worker before | growth | find by id | late p50 |"
        " late p99 | late max | burst | burst done in | longest gap |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        late = [percentile(one.lateness, part) for part in (50, 99, 100)]
        rows.append(
            f"| {one.store} | {one.tasks:,} | {one.publish_seconds:.0f} s"
            f" | {one.memory_before / 1e6:.1f} MB"
            f" | {(one.memory_after - one.memory_before) / 1e6:+.1f} MB"
            f" | {one.find_seconds:.1f} s"
            f" | {late[0] * 1000:.0f} ms | {late[1] * 1000:.0f} ms | {late[2] * 1000:.0f} ms"
            f" | {one.burst:,} | {one.burst_seconds:.1f} s | {one.longest_gap * 1000:.0f} ms |"
        )
    return "\n".join(rows)
