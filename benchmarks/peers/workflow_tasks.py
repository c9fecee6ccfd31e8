"""Tasks that workflows are made of, for Umbel or Celery as BENCH_LIBRARY says.

Runs in the peer's environment. Celery is set up as in ``peers/celery/app.py``.
"""

from __future__ import annotations

import os

from benchmarks.peers.surroundings import REDIS_URL

if os.environ["BENCH_LIBRARY"] == "celery":
    from celery import Celery as App
    from celery import chain, chord, group

    SETTINGS = {"worker_prefetch_multiplier": 128, "worker_hijack_root_logger": True}
else:
    from umbel import Umbel as App
    from umbel import chain, chord, group

    SETTINGS = {}

__all__ = ["add", "app", "chain", "chord", "group", "total"]

app = App("workflows", broker=REDIS_URL, backend=REDIS_URL)
app.conf.update(SETTINGS)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.total")
def total(numbers):
    return sum(numbers)
