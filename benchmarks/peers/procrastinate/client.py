"""Sends by ``defer_async``; bulk is ``batch_defer_async``."""

from __future__ import annotations

from benchmarks.peers.client import serve
from benchmarks.peers.procrastinate.app import add, app


class Sender:
    async def send(self, i):
        await add.defer_async(x=i, y=1)

    async def send_many(self, first, count):
        await add.batch_defer_async(*({"x": first + i, "y": 1} for i in range(count)))

    async def call(self, i):
        raise NotImplementedError("procrastinate keeps no results")

    async def close(self):
        await app.close_async()


async def open_sender():
    await app.open_async()
    if not await app.check_connection_async():
        await app.schema_manager.apply_schema_async()
    return Sender()


if __name__ == "__main__":
    serve(open_sender)
