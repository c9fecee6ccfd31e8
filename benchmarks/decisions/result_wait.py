"""How long a caller waits between ``delay()`` and its value, and on which thread it should wait.

    python benchmarks/decisions/result_wait.py redis://127.0.0.1:6379/9

A process that answers calls as fast as it can stands in for the worker, so that what is measured is
the client. Three ways to wait: the calling thread listens itself (what ``get`` does when alone), a
background thread listens for it (what others would do, and ``await`` does), and polling.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from umbel.app.app import App
from umbel.model.delivery import Ack, Effects, Settlement
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import Queue
from umbel.wire import envelope, result_meta
from umbel.wire.serializers import SERIALIZERS

CALLS = 3000


def make_app(url: str, queue: str) -> App:
    app = App("bench", broker=url, backend=url, task_default_queue=queue)

    @app.task(name="bench.add")
    def add(x: int, y: int) -> int:
        return x + y

    return app


def answer(url: str, queue: str, ready: Any) -> None:
    """Answer every call with 3."""
    app = make_app(url, queue)
    presence = Presence(
        owner=uuid.uuid4().hex,
        name="bench",
        pid=0,
        pool="solo",
        concurrency=1,
        queues=(queue,),
        version="0",
        started=time.time(),
    )
    consumer = app.broker.open_consumer(
        [Queue(name=queue)], presence=presence, lease=60, results=app.result_backend
    )
    ready.set()
    while True:
        settlements = []
        for delivery in consumer.receive(10, 5):
            task_id = envelope.peek(delivery.raw).id
            document = result_meta.encode(
                task_id=task_id,
                status="SUCCESS",
                result=3,
                date_done=datetime.now(UTC),
                serializer=SERIALIZERS.get("json"),
            )
            record = ResultRecord(
                task_id=task_id,
                state="SUCCESS",
                document=document,
                final=True,
                expires=60.0,
            )
            effects = Effects(records=(record,))
            settlements.append(Settlement(delivery.receipt, Ack(), effects))
        if settlements:
            consumer.exchange(settlements, 0)


def show(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(f"{name:46} p50 {p50 * 1e6:7.0f} us   p99 {p99 * 1e6:7.0f} us")


def measure(call: Callable[[], object], count: int = CALLS) -> list[float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return took


async def measure_await(task: Any) -> list[float]:
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await (await task.adelay(1, 2))
        took.append(time.perf_counter() - began)
    return took


def poll(task: Any, interval: float) -> None:
    result = task.delay(1, 2)
    while not result.ready():
        time.sleep(interval)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="redis://127.0.0.1:6379/9")
    url = parser.parse_args().url
    queue = f"bench-{uuid.uuid4().hex}"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    answering = context.Process(target=answer, args=(url, queue, ready), daemon=True)
    answering.start()
    ready.wait()
    app = make_app(url, queue)
    add = app.tasks["bench.add"]
    measure(lambda: add.delay(1, 2).get(timeout=10), 200)
    show("delay() alone", measure(lambda: add.apply_async((1, 2), queue=queue + "-nobody")))
    show("delay().get(), the caller listens", measure(lambda: add.delay(1, 2).get(timeout=10)))
    show(
        "delay().get(), a background thread listens",
        measure(lambda: app.results.future(add.delay(1, 2).id).result(10)),
    )
    show("await adelay(), await result", asyncio.run(measure_await(add)))
    show("polling each millisecond", measure(lambda: poll(add, 0.001)))
    began = time.perf_counter()
    results = add.send_many((number, 1) for number in range(2000))
    results.get(timeout=30)
    took = time.perf_counter() - began
    print(f"send_many(2000).get(): {took / 2000 * 1e6:.0f} us a result")
    app.broker.purge(queue + "-nobody")
    answering.terminate()


if __name__ == "__main__":
    main()
