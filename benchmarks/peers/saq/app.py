"""SAQ on Redis; where results are not wanted, a job is deleted when it is done."""

from __future__ import annotations

import logging

from saq import Queue
from saq.worker import start

from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_URL, RESULTS, SLOTS

TTL = 3600 if RESULTS else -1
queue = Queue.from_url(REDIS_URL, name="bench")


async def add(ctx, *, x, y):  # noqa: ARG001 - it is given
    tally.count()
    return x + y


settings = {"queue": queue, "functions": [add], "concurrency": SLOTS}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    start("benchmarks.peers.saq.app.settings")
