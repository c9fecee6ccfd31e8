"""Taskiq on Redis lists (lost when a worker dies) or streams (given again), by BENCH_STREAM."""

from __future__ import annotations

import os

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_URL, RESULTS

broker = (RedisStreamBroker if os.environ.get("BENCH_STREAM") == "1" else ListQueueBroker)(
    REDIS_URL
)
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(REDIS_URL, result_ex_time=3600))


@broker.task(task_name="bench.add")
async def add(x: int, y: int) -> int:
    tally.count()
    return x + y
