"""RQ with its SimpleWorker, which does not fork for each job."""

from __future__ import annotations

import logging

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_PORT, RESULTS

connection = Redis(port=REDIS_PORT)
queue = Queue("bench", connection=connection)
RESULT_TTL = 3600 if RESULTS else 0


def add(x, y):
    tally.count()
    return x + y


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    SimpleWorker([queue], connection=connection).work(logging_level="ERROR")
