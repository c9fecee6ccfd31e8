"""What a claim and a settlement cost on PostgreSQL when ten million tasks have gone through.

    python -m benchmarks.decisions.postgres_history              # ten million: some minutes
    python -m benchmarks.decisions.postgres_history 1000000
    python -m benchmarks.decisions.postgres_history 1000000 --open    # beside an open transaction

Starts a PostgreSQL server of its own (``fsync`` off, the server's usual memory, its usual
autovacuum). Up to 100,000 tasks of each step go through the driver's own statements just before it
is measured, so the hot tables have seen what they would have seen; of the others the results are
written, which is all that stays of them. Decision:
docs/design/0020-how-claims-are-kept-on-postgresql.md
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from typing import Any

import msgspec
import psycopg
from torture.postgres import PrivatePostgres

from umbel.drivers import postgres
from umbel.drivers.postgres import PostgresDriver
from umbel.drivers.postgres.statements import statements
from umbel.model.delivery import Ack
from umbel.model.queues import Queue
from umbel.ports import Consumer
from umbel.testing.conformance.station import (
    new_id,
    outgoing,
    presence,
    record,
    settlement,
    task_ids,
)

SCHEMA = "umbel"
QUEUE = Queue("measured")
CROWD = QUEUE.name

AT_ONCE = 10_000
LATEST = 100_000
"""Tasks of each step that really go through the hot tables."""
ROUNDS = 300
CLAIM = 10
RAW = b"x" * 400
DOCUMENT = b"y" * 150
"""About as long as what a small task leaves."""

Session = psycopg.Connection[Any]


class Seen(msgspec.Struct, frozen=True):
    """What was measured after so many tasks. Milliseconds, pages of 8 KiB, MiB."""

    finished: int
    claim: float
    claim_p95: float
    settle: float
    settle_p95: float
    pages: int
    hot: float
    results: float

    def line(self) -> str:
        return (
            f"| {self.finished:,} | {self.claim:.2f} ({self.claim_p95:.2f}) "
            f"| {self.settle:.2f} ({self.settle_p95:.2f}) | {self.pages} "
            f"| {self.hot:.1f} | {self.results:,.0f} |"
        )


HEAD = (
    "| finished tasks | claim of ten, ms (p95) | settlement of ten with results, ms (p95) "
    "| pages of a look from the beginning "
    "| hot tables, MiB | results, MiB |\n|---|---|---|---|---|---|"
)


def leave_results(admin: Session, tasks: int) -> None:
    """Leave what so many tasks leave: a result each, kept for a day."""
    admin.execute(
        f"INSERT INTO {SCHEMA}.result (task_id, state, final, until, document) SELECT "
        "gen_random_uuid()::text, 'SUCCESS', true, now() + interval '1 day', %s "
        "FROM generate_series(1, %s)".encode(),
        (DOCUMENT, tasks),
    )


def go_through(admin: Session, tasks: int) -> None:
    """Send, claim and settle so many tasks, with results, by the statements of the driver."""
    sql = statements(SCHEMA)
    for start in range(0, tasks, AT_ONCE):
        count = min(AT_ONCE, tasks - start)
        with admin.transaction():
            admin.execute(
                f"INSERT INTO {SCHEMA}.ready (queue, priority, raw) SELECT %s, 0, %s "
                "FROM generate_series(1, %s)".encode(),
                (CROWD, RAW, count),
            )
        with admin.transaction():
            values = {"queue": CROWD, "limit": count, "owner": -7}
            ids = [row[0] for row in admin.execute(sql["claim_one_queue"], values).fetchall()]
        with admin.transaction():
            ended = admin.execute(
                sql["settle_done"],
                {
                    "owner": -7,
                    "ids": ids,
                    "r_ids": ids,
                    "r_tasks": sorted(str(uuid.uuid4()) for _ in ids),
                    "r_states": ["SUCCESS"] * count,
                    "r_finals": [True] * count,
                    "r_lives": [86400.0] * count,
                    "r_documents": [DOCUMENT] * count,
                },
            ).fetchall()
        if len(ended) != count:
            raise RuntimeError(f"{count - len(ended)} claims were lost on the way")


def measure(driver: PostgresDriver, admin: Session, finished: int) -> Seen:
    """Time claims and settlements of ten through the driver, a message of its own each."""
    broker = driver.broker()
    publisher = broker.open_publisher()
    consumer = broker.open_consumer(
        [QUEUE], presence=presence(), lease=600.0, results=driver.result_backend()
    )
    claims: list[float] = []
    ends: list[float] = []
    for turn in range(ROUNDS + 20):
        publisher.publish([outgoing(QUEUE, new_id()) for _ in range(CLAIM)], timeout=60.0)
        began = time.perf_counter()
        deliveries = consumer.exchange([], CLAIM).deliveries
        claimed = time.perf_counter()
        ids = task_ids(deliveries)
        if len(ids) != CLAIM:
            raise RuntimeError(f"{len(ids)} tasks claimed where {CLAIM} were ready")
        done = [
            settlement(each, Ack(), records=[record(task)])
            for each, task in zip(deliveries, ids, strict=True)
        ]
        settling = time.perf_counter()
        lost = consumer.exchange(done, 0).lost
        ended = time.perf_counter()
        if lost:
            raise RuntimeError("a claim was lost")
        if turn >= 20:
            claims.append((claimed - began) * 1e3)
            ends.append((ended - settling) * 1e3)
    pages = _pages(admin, consumer, publisher)
    consumer.close()
    publisher.close()
    return Seen(
        finished,
        statistics.median(claims),
        statistics.quantiles(claims, n=20)[-1],
        statistics.median(ends),
        statistics.quantiles(ends, n=20)[-1],
        pages,
        _size(admin, "ready") + _size(admin, "claimed"),
        _size(admin, "result"),
    )


def _pages(admin: Session, consumer: Consumer, publisher: Any) -> int:
    publisher.publish([outgoing(QUEUE, new_id()) for _ in range(CLAIM)], timeout=60.0)
    values = {"queue": QUEUE.name, "limit": CLAIM, "owner": -7}
    with admin.transaction(force_rollback=True):
        admin.execute(b"SET LOCAL enable_seqscan = off")
        (plan,) = admin.execute(
            b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statements(SCHEMA)["claim_one_queue"],
            values,
        ).fetchone() or ([],)
    deliveries = consumer.exchange([], CLAIM).deliveries
    consumer.exchange([settlement(each, Ack()) for each in deliveries], 0)
    found = plan[0]["Plan"]
    return int(found["Shared Hit Blocks"] + found["Shared Read Blocks"])


def _size(admin: Session, table: str) -> float:
    ((size,),) = admin.execute(
        "SELECT pg_total_relation_size(%s::regclass)", (f"{SCHEMA}.{table}",)
    ).fetchall()
    return float(size) / 2**20


def main(total: int, *, beside_open: bool) -> None:
    server = PrivatePostgres("max_wal_size=4GB").start()
    try:
        driver = postgres.open(server.url(), {})
        driver.broker().ping()
        print(HEAD, flush=True)
        with (
            psycopg.connect(server.url(), autocommit=True) as admin,
            psycopg.connect(server.url()) as reader,
        ):
            admin.execute(b"SET enable_seqscan = off")
            admin.execute(b"SET plan_cache_mode = force_generic_plan")
            if beside_open:
                reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                reader.execute(f"SELECT count(*) FROM {SCHEMA}.ready".encode())
            finished = 0
            print(measure(driver, admin, 0).line(), flush=True)
            for goal in sorted({total // 100, total // 10, total}):
                latest = min(LATEST, goal - finished)
                leave_results(admin, goal - finished - latest)
                began = time.monotonic()
                go_through(admin, latest)
                pace = latest / (time.monotonic() - began)
                finished = goal
                print(measure(driver, admin, finished).line(), flush=True)
                print(f"({pace:,.0f} tasks/s through the tables)", file=sys.stderr, flush=True)
        driver.broker().close()
        driver.result_backend().close()
    finally:
        server.close()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--open"]
    main(int(words[0]) if words else 10_000_000, beside_open="--open" in sys.argv)
