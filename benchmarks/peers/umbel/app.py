"""Umbel in its native profile: late ack; on Redis, PostgreSQL, or the embedded SQLite store."""

from __future__ import annotations

from benchmarks.peers import tally
from benchmarks.peers.surroundings import (
    EMBEDDED,
    POSTGRES_URL,
    REDIS_URL,
    RESULTS,
    SQLITE_PATH,
)
from umbel import Umbel

STORE = f"sqlite:///{SQLITE_PATH}" if EMBEDDED else POSTGRES_URL or REDIS_URL
app = Umbel("bench", broker=STORE, backend=STORE)
app.conf.update(task_ignore_result=not RESULTS)


@app.task(name="bench.add")
def add(x: int, y: int) -> int:
    tally.count()
    return x + y


@app.task(name="bench.add_async")
async def add_async(x: int, y: int) -> int:
    tally.count()
    return x + y
