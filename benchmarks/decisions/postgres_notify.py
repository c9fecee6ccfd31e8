"""What a notification costs a commit, and what a claim costs beside finished tasks.

    python -m benchmarks.decisions.postgres_notify postgresql://postgres@127.0.0.1:5432/scratch

Uses the schema ``umbel_bench`` of that database, and drops it at the end. Figures of one run are
compared with each other only. Decision:
docs/design/0020-how-claims-are-kept-on-postgresql.md
"""

from __future__ import annotations

import sys
import threading
import time

import psycopg

from umbel.drivers import postgres
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.statements import statements
from umbel.model.delivery import Ack
from umbel.model.queues import Queue
from umbel.testing.conformance.station import (
    new_id,
    outgoing,
    presence,
    record,
    settlement,
    task_ids,
)

SCHEMA = "umbel_bench"
SENDERS = 8
SECONDS = 3.0
QUEUE = Queue("bench")


def senders(url: str, *, always: bool) -> float:
    """Return messages a second that eight senders commit one by one, nobody waiting."""
    sql = statements(SCHEMA)
    bell = Bells(SCHEMA).queue(QUEUE.name)
    counts = [0] * SENDERS
    stop = time.monotonic() + SECONDS

    def send(number: int) -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
            while time.monotonic() < stop:
                with connection.pipeline() as pipeline:
                    row = {"queues": [QUEUE.name], "priorities": [0], "raws": [b"x" * 300]}
                    connection.execute(sql["add_ready"], row)
                    if always:
                        connection.execute(sql["tell"], {"channel": bell.channel})
                    else:
                        pipeline.sync()
                        values = {"keys": [bell.key], "channels": [bell.channel], "payloads": [""]}
                        connection.execute(sql["ring"], values)
                counts[number] += 1

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def pages(url: str, finished: int) -> int:
    """Return how many pages a claim of ten looks at after so many tasks have ended."""
    driver = postgres.open(url, {"schema": SCHEMA})
    queue = Queue(f"ended-{finished}")
    publisher = driver.broker().open_publisher()
    consumer = driver.broker().open_consumer(
        [queue], presence=presence(), lease=60.0, results=driver.result_backend()
    )
    for _ in range(finished // 1000):
        publisher.publish([outgoing(queue, new_id()) for _ in range(1000)], timeout=30.0)
        taken = consumer.exchange([], 1000).deliveries
        ids = task_ids(taken)
        ends = [
            settlement(one, Ack(), records=[record(task)])
            for one, task in zip(taken, ids, strict=True)
        ]
        consumer.exchange(ends, 0)
    publisher.publish([outgoing(queue, new_id()) for _ in range(10)], timeout=30.0)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"VACUUM {SCHEMA}.ready, {SCHEMA}.claimed".encode())
        admin.execute(b"SET enable_seqscan = off")
        (plan,) = admin.execute(
            b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statements(SCHEMA)["claim_one_queue"],
            {"queue": queue.name, "limit": 10, "owner": -7},
        ).fetchone() or ([],)
    consumer.close()
    publisher.close()
    found = plan[0]["Plan"]
    return int(found["Shared Hit Blocks"] + found["Shared Read Blocks"])


def main(url: str) -> None:
    postgres.open(url, {"schema": SCHEMA}).broker().ping()
    try:
        for turn in range(2):
            ring = senders(url, always=False)
            always = senders(url, always=True)
            print(f"run {turn}: {ring:7.0f} messages/s ringing where somebody waits")
            print(f"run {turn}: {always:7.0f} messages/s with NOTIFY in every transaction")
        for finished in (0, 10_000, 50_000):
            print(
                f"{finished:6} finished tasks: a claim of ten looks at {pages(url, finished)} pages"
            )
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"DROP SCHEMA {SCHEMA} CASCADE".encode())


if __name__ == "__main__":
    main(sys.argv[1])
