"""Sends by ``kiq``; bulk is ``gather`` of a hundred of them at a time."""

from __future__ import annotations

import asyncio

from benchmarks.peers.client import serve
from benchmarks.peers.taskiq.app import add, broker


class Sender:
    async def send(self, i):
        await add.kiq(i, 1)

    async def send_many(self, first, count):
        for start in range(first, first + count, 100):
            await asyncio.gather(
                *(add.kiq(i, 1) for i in range(start, min(start + 100, first + count)))
            )

    async def call(self, i):
        task = await add.kiq(i, 1)
        return (await task.wait_result(check_interval=0.001, timeout=10)).return_value

    async def close(self):
        await broker.shutdown()


async def open_sender():
    await broker.startup()
    return Sender()


if __name__ == "__main__":
    serve(open_sender)
