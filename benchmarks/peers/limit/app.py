"""The limit: a bare loop that claims, runs, stores, publishes and settles in batches on Redis.

What a worker written in Python on this client can do at all, when it does nothing for anybody:
no routing, no hooks, no signals, no logging, no limits, no shutdown. Claims are kept until settled.
"""

from __future__ import annotations

import os

from redis import Redis

from benchmarks.decisions import prototype
from benchmarks.decisions.funnel import Store
from benchmarks.peers import tally
from benchmarks.peers.surroundings import REDIS_PORT

BATCH = 64


def work() -> None:
    """Drain the queue, wait for more, for ever."""
    client = Redis(port=REDIS_PORT, socket_timeout=None)
    store = Store(client, f"limit{os.getpid()}")
    load = prototype.Load()
    settled: list[tuple[int, str, bytes]] = []
    while True:
        claimed = store.exchange(settled, BATCH)
        settled = []
        if not claimed:
            client.blmove(prototype.QUEUE, prototype.QUEUE, 0, "RIGHT", "RIGHT")
        for receipt, raw in claimed:
            settled.append(prototype.run(receipt, raw, load))
            tally.count()


if __name__ == "__main__":
    work()
