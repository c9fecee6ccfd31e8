"""arq; its worker polls, so the delay between polls is set to a millisecond."""

from __future__ import annotations

import logging

from arq.connections import RedisSettings
from arq.worker import run_worker

from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_PORT, RESULTS, SLOTS

settings = RedisSettings(port=REDIS_PORT)


async def add(ctx, x, y):  # noqa: ARG001 - it is given
    tally.count()
    return x + y


class WorkerSettings:
    functions = (add,)
    redis_settings = settings
    max_jobs = SLOTS
    poll_delay = 0.001
    keep_result = 3600 if RESULTS else 0
    log_results = False


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    run_worker(WorkerSettings)
