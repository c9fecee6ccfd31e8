"""Dramatiq with its Redis broker; the results middleware only where results are wanted."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_URL, RESULTS

broker = RedisBroker(url=REDIS_URL)
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def add(x, y):
    tally.count()
    return x + y if RESULTS else None
