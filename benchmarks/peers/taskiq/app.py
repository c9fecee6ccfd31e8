"""Taskiq on Redis lists (lost when a worker dies) or streams (given again), or on RabbitMQ."""

from __future__ import annotations

import os

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import tally
from benchmarks.peers.surroundings import RABBITMQ_URL, REDIS_URL, RESULTS

if RABBITMQ_URL:
    from taskiq_aio_pika import AioPikaBroker, Queue, QueueType

    # Its default is a quorum queue, and ten messages ahead; the others' queues are classic.
    broker = AioPikaBroker(RABBITMQ_URL, qos=128).with_queue(
        Queue(name="taskiq", type=QueueType.CLASSIC)
    )
else:
    broker = (RedisStreamBroker if os.environ.get("BENCH_STREAM") == "1" else ListQueueBroker)(
        REDIS_URL
    )
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(REDIS_URL, result_ex_time=3600))


@broker.task(task_name="bench.add")
async def add(x: int, y: int) -> int:
    tally.count()
    return x + y
