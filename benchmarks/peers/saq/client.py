"""Sends by ``enqueue``; bulk is ``gather`` of a hundred of them at a time."""

from __future__ import annotations

import asyncio

from benchmarks.peers.client import serve
from benchmarks.peers.saq.app import TTL, queue


class Sender:
    async def send(self, i):
        await queue.enqueue("add", x=i, y=1, ttl=TTL)

    async def send_many(self, first, count):
        for start in range(first, first + count, 100):
            await asyncio.gather(
                *(
                    queue.enqueue("add", x=i, y=1, ttl=TTL)
                    for i in range(start, min(start + 100, first + count))
                )
            )

    async def call(self, i):
        # Not Job.refresh: it reads first and subscribes then, so it misses quick ones.
        return await queue.apply("add", x=i, y=1, ttl=TTL, timeout=10, poll_interval=0.001)

    async def close(self):
        await queue.disconnect()


async def open_sender():
    await queue.connect()
    return Sender()


if __name__ == "__main__":
    serve(open_sender)
