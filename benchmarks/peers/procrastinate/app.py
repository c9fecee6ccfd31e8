"""procrastinate on PostgreSQL. It keeps no return values; where results are wanted it keeps the
rows of what has succeeded (its default), else it deletes them."""

from __future__ import annotations

import asyncio
import logging

import procrastinate
import uvloop

from benchmarks.peers import tally
from benchmarks.peers.surroundings import POSTGRES_URL, RESULTS, SLOTS

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=POSTGRES_URL))


@app.task(name="add")
async def add(x, y):
    tally.count()
    return x + y


async def work():
    kept = "never" if RESULTS else "successful"
    async with app.open_async():
        await app.run_worker_async(concurrency=SLOTS, delete_jobs=kept)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    uvloop.install()
    asyncio.run(work())
