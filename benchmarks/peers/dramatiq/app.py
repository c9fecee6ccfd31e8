"""Dramatiq with its Redis broker, or its RabbitMQ broker; the results middleware where wanted."""

from __future__ import annotations

import dramatiq
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import tally
from benchmarks.peers.surroundings import RABBITMQ_URL, REDIS_URL, RESULTS

if RABBITMQ_URL:
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=RABBITMQ_URL)
else:
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=REDIS_URL)
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def add(x, y):
    tally.count()
    return x + y if RESULTS else None
