"""What does it cost the SQLite store to survive a power cut?

For every ``synchronous`` level: how fast processes drain a queue with results stored (each batch
is one transaction that settles, stores and claims the next), what one worker process spends on a
task, and how long publishing takes.

    PYTHONPATH=packages/umbel/src python benchmarks/decisions/sqlite_durability.py

UMBEL_BENCH_DIR chooses the disk. Decision: docs/design/0004-how-sqlite-processes-wake-each-other.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import statistics
import tempfile
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.location import Location
from umbel.model.delivery import Ack, Effects, Settlement
from umbel.model.message import EncodedMessage
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue

QUEUE = Queue("celery")


def message() -> Outgoing:
    """Return a message as add.delay(2, 3) makes it."""
    task_id = str(uuid.uuid4())
    headers = {
        "lang": "py", "task": "tasks.add", "id": task_id, "shadow": None, "eta": None,
        "expires": None, "group": None, "group_index": None, "retries": 0,
        "timelimit": [None, None], "root_id": task_id, "parent_id": None, "argsrepr": "(2, 3)",
        "kwargsrepr": "{}", "origin": "gen4711@host", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    properties = {"correlation_id": task_id, "delivery_mode": 2, "priority": 0}
    return Outgoing(
        message=EncodedMessage(
            headers=headers,
            properties=properties,
            body=b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null}]',
            content_type="application/json",
            content_encoding="utf-8",
        ),
        queue=QUEUE,
    )


def presence() -> Presence:
    return Presence(
        owner=secrets.token_hex(16),
        name="celery@host",
        pid=os.getpid(),
        pool="prefork",
        concurrency=1,
        queues=("celery",),
        version="0",
        started=0.0,
    )


def drain(location: Location, batch: int, pipe: Connection) -> None:
    driver = SqliteDriver(location)
    consumer = driver.broker().open_consumer(
        [QUEUE], presence=presence(), lease=15.0, results=driver.result_backend()
    )
    pipe.send("ready")
    pipe.recv()
    cpu, done, slowest = time.process_time(), 0, 0.0
    document = b'{"status": "SUCCESS", "result": 5, "traceback": null, "children": []}' * 2
    deliveries = consumer.receive(batch, 1.0)
    while deliveries:
        settlements = [
            Settlement(
                each.receipt,
                Ack(),
                Effects(
                    records=(
                        ResultRecord(
                            task_id=str(uuid.uuid4()),
                            state="SUCCESS",
                            document=document,
                            final=True,
                            expires=86400.0,
                        ),
                    )
                ),
            )
            for each in deliveries
        ]
        began = time.perf_counter()
        exchange = consumer.exchange(settlements, batch)
        slowest = max(slowest, time.perf_counter() - began)
        done += len(settlements) - len(exchange.lost)
        deliveries = exchange.deliveries
    pipe.send((done, time.process_time() - cpu, time.monotonic(), slowest))
    consumer.close()


def measure(synchronous: str, batch: int, tasks: int, processes: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("UMBEL_BENCH_DIR")) as text:
        path = Path(text) / "umbel.sqlite3"
        location = Location(path, synchronous=synchronous, timeout=30.0)
        publisher = SqliteDriver(location).broker().open_publisher()
        bulk: list[float] = []
        for _ in range(tasks // 1000):
            messages = [message() for _ in range(1000)]
            began = time.perf_counter()
            publisher.publish(messages, timeout=5.0)
            bulk.append((time.perf_counter() - began) * 1e3)
        context = multiprocessing.get_context("spawn")
        pipes, children = [], []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            child = context.Process(target=drain, args=(location, batch, theirs))
            child.start()
            children.append(child)
            pipes.append(ours)
        assert all(pipe.recv() == "ready" for pipe in pipes)
        began = time.monotonic()
        for pipe in pipes:
            pipe.send("go")
        told = [pipe.recv() for pipe in pipes]
        log = path.with_name(path.name + "-wal").stat().st_size
        for child in children:
            child.join()
        done = sum(each[0] for each in told)
        assert done == tasks, (done, tasks)
        single: list[float] = []
        for _ in range(300):
            one = message()
            before = time.perf_counter()
            publisher.publish([one], timeout=5.0)
            single.append((time.perf_counter() - before) * 1e3)
        publisher.close()
        return {
            "synchronous": synchronous,
            "batch": batch,
            "tasks/s": round(tasks / (max(each[2] for each in told) - began)),
            "cpu us/task": round(sum(each[1] for each in told) / tasks * 1e6, 1),
            "slowest ms": round(max(each[3] for each in told) * 1e3, 1),
            "bulk of 1000 ms": round(statistics.median(bulk), 2),
            "single ms": round(statistics.median(single), 3),
            "file MB": round(path.stat().st_size / 1e6, 1),
            "log MB": round(log / 1e6, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 10, 50, 200])
    parser.add_argument("--levels", nargs="+", default=["full", "normal", "off"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for level in options.levels:
        for batch in options.batches:
            tasks = options.tasks if batch > 1 else max(1000, options.tasks // 5)
            rows.append(measure(level, batch, tasks // 1000 * 1000, options.processes))
            if not options.json:
                if len(rows) == 1:
                    print("| " + " | ".join(rows[0]) + " |")
                    print("|" + "---|" * len(rows[0]))
                print("| " + " | ".join(str(value) for value in rows[-1].values()) + " |")
    if options.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
