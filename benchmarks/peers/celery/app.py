"""Celery as its optimising guide says: early ack, long prefetch, no chatter between workers."""

from __future__ import annotations

from celery import Celery

from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_URL, RESULTS

app = Celery("bench", broker=REDIS_URL, backend=REDIS_URL if RESULTS else None)
app.conf.update(
    task_ignore_result=not RESULTS,
    worker_prefetch_multiplier=128,
    task_acks_late=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=True,
)


@app.task(name="bench.add")
def add(x, y):
    tally.count()
    return x + y
