"""Huey on Redis with blocking reads and notified results, or on SQLite."""

from __future__ import annotations

from huey import RedisHuey, SqliteHuey

from benchmarks.peers import tally
from benchmarks.peers.surroundings import EMBEDDED, REDIS_PORT, RESULTS, SQLITE_PATH

if EMBEDDED:
    huey = SqliteHuey("bench", filename=SQLITE_PATH, results=RESULTS)
else:
    huey = RedisHuey("bench", port=REDIS_PORT, results=RESULTS, notify_result=RESULTS)


@huey.task()
def add(x, y):
    tally.count()
    return x + y
