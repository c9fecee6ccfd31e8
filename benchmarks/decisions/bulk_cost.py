"""What one call costs when many are sent at once, and where the time goes.

    python benchmarks/decisions/bulk_cost.py redis://127.0.0.1:6379/9

The rate is from one process, message building included. CPU is this process's own: what is left of
the time is waiting for the store.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Callable
from typing import Any

from umbel.app.app import App
from umbel.app.bulk import _Bulk, _calls_of
from umbel.model.message import TaskMessage
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_template import MessageTemplate
from umbel.wire.task_v2 import encode

CALLS = 50_000


def make_app(url: str, queue: str) -> App:
    app = App("bench", broker=url, backend=url, task_default_queue=queue)

    @app.task(name="bench.add")
    def add(x: int, y: int) -> int:
        return x + y

    return app


def each(name: str, call: Callable[[], object], count: int = 20_000) -> None:
    call()
    began = time.perf_counter()
    for _ in range(count):
        call()
    print(f"{name:40} {(time.perf_counter() - began) / count * 1e6:6.2f} us")


def parts() -> None:
    json = SERIALIZERS.get("json")
    message = TaskMessage(
        id="2e0f5467-bbad-492b-bf6a-6d920d2f77d2",
        task="bench.add",
        args=(2, 3),
        origin="gen1@host",
        reply_to="2c22dc70-0000-4000-8000-000000000000",
    )
    template = MessageTemplate(message, serializer=json)
    filled = template.fill(message.id, (2, 3), {})
    each("encode one by one", lambda: encode(message, serializer=json))
    each("fill a template", lambda: template.fill(message.id, (2, 3), {}))
    each(
        "kombu envelope",
        lambda: envelope.dump_kombu(filled, exchange="", routing_key="q", delivery_tag="tag"),
    )
    each("compact envelope", lambda: envelope.dump_compact(filled))


def chunks(app: App, task: Any) -> None:
    bulk = _Bulk(app, {}, 1000)
    calls = _calls_of(task, ((number, 1) for number in range(CALLS)))
    began = time.perf_counter()
    while bulk.next_chunk(calls):
        pass
    print(
        f"{'a call made ready, all told':40} {(time.perf_counter() - began) / CALLS * 1e6:6.2f} us"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="redis://127.0.0.1:6379/9")
    url = parser.parse_args().url
    queue = f"bench-{uuid.uuid4().hex}"
    app = make_app(url, queue)
    task = app.tasks["bench.add"]
    parts()
    task.send_many([(1, 1)])
    chunks(app, task)
    for _ in range(3):
        cpu, began = time.process_time(), time.perf_counter()
        task.send_many((number, 1) for number in range(CALLS))
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"send_many: {CALLS / took:8.0f} calls/s, {took / CALLS * 1e6:5.1f} us a call, "
            f"{cpu / CALLS * 1e6:5.1f} us of them CPU here"
        )
        app.broker.purge(queue)


if __name__ == "__main__":
    main()
