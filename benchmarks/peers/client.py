"""The sending side of every peer: a process that sends, fills, or waits for results, and reports.

Runs in the peer's environment: standard library only. The harness writes one line to start the
work and reads JSON lines; see ``Bench.send`` in ``benchmarks/surveying.py``. Each peer hands
``serve`` an object with ``send(i)``, ``send_many(first, count)`` and ``call(i)``, plain or
``async``, and ``close``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

CHUNK = 1000


def serve(open_sender: Callable[[], Any]) -> None:
    """Do what the command line asks: ``send|send_many SECONDS``, ``fill N`` or ``call N``.

    An event loop runs only for a peer that opens its sender by ``async def``.
    """
    work = _serve(open_sender, sys.argv[1], float(sys.argv[2]))
    if inspect.iscoroutinefunction(open_sender):
        asyncio.run(work)
        return
    try:
        work.send(None)  # nothing in it waits for a loop
    except StopIteration:
        return
    raise TypeError("benchmarks: a plain sender must not have async methods")


async def _serve(open_sender: Callable[[], Any], what: str, amount: float) -> None:
    sender = open_sender()
    if inspect.isawaitable(sender):
        sender = await sender
    if what != "fill":
        await _settled(sender.send_many(0, 1) if what == "send_many" else sender.send(0))
    _say("ready")
    sys.stdin.readline()
    _say(await _measure(sender, what, amount))
    sys.stdin.readline()
    await _settled(sender.close())


async def _measure(sender: Any, what: str, amount: float) -> dict[str, Any]:
    cpu, began = time.process_time(), time.perf_counter()
    taken: list[float] = []
    if what == "send":
        count = await _sends(sender.send, amount)
    elif what == "send_many":
        count = await _bulk(sender.send_many, amount)
    elif what == "fill":
        count = int(amount)
        for first in range(0, count, CHUNK):
            await _settled(sender.send_many(first, min(CHUNK, count - first)))
    elif what == "call":
        count = int(amount)
        taken = await _calls(sender.call, count)
    else:
        raise SystemExit(f"benchmarks: a client cannot {what!r}")
    seconds = time.perf_counter() - began
    return {
        "count": count,
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "taken": taken,
    }


async def _sends(send: Callable[[int], Any], seconds: float) -> int:
    """Send one by one until the time is over. The loop is the caller's own, plain or async."""
    count, end = 0, time.perf_counter() + seconds
    if inspect.iscoroutinefunction(send):
        while time.perf_counter() < end:
            await send(count)
            count += 1
    else:
        while time.perf_counter() < end:
            send(count)
            count += 1
    return count


async def _bulk(send_many: Callable[[int, int], Any], seconds: float) -> int:
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        await _settled(send_many(count, CHUNK))
        count += CHUNK
    return count


async def _calls(call: Callable[[int], Any], count: int) -> list[float]:
    """Send one task and wait for its result, again and again."""
    taken: list[float] = []
    for i in range(count):
        began = time.perf_counter()
        value = await _settled(call(i))
        taken.append(time.perf_counter() - began)
        if value != i + 1:
            raise SystemExit(f"benchmarks: add({i}, 1) came back as {value!r}")
    return taken


async def _settled(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value


def _say(value: Any) -> None:
    print(json.dumps(value), flush=True)
