"""Sends by ``enqueue_job``; bulk is ``gather`` of a hundred of them at a time."""

from __future__ import annotations

import asyncio

from arq import create_pool

from benchmarks.peers.arq.app import settings
from benchmarks.peers.client import serve


class Sender:
    def __init__(self, pool):
        self.pool = pool

    async def send(self, i):
        await self.pool.enqueue_job("add", i, 1)

    async def send_many(self, first, count):
        for start in range(first, first + count, 100):
            await asyncio.gather(
                *(
                    self.pool.enqueue_job("add", i, 1)
                    for i in range(start, min(start + 100, first + count))
                )
            )

    async def call(self, i):
        job = await self.pool.enqueue_job("add", i, 1)
        return await job.result(timeout=10, poll_delay=0.001)

    async def close(self):
        await self.pool.aclose()


async def open_sender():
    return Sender(await create_pool(settings))


if __name__ == "__main__":
    serve(open_sender)
