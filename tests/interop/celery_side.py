"""The Celery side of the Redis tests: run by a Python that has the real Celery, never by ours.

``celery_side.py <what> <url> ...`` prints one line of JSON for each thing that happened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery  # type: ignore[import-not-found, unused-ignore]  # the other Python's


def make_app(url: str) -> Any:
    app = Celery("peer", broker=url, backend=None if url.startswith("amqp") else url)
    app.conf.task_acks_late = True
    app.conf.broker_transport_options = {
        "visibility_timeout": 2,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
    app.conf.worker_hijack_root_logger = False

    @app.task(name="peer.add")  # type: ignore[untyped-decorator, unused-ignore]  # Celery's
    def add(x: int, y: int) -> int:
        return x + y

    return app


def say(**words: Any) -> None:
    # Workers redirect sys.stdout to their log.
    print(json.dumps(words), file=sys.__stdout__, flush=True)


def send(url: str, queue: str) -> None:
    app = make_app(url)
    for priority in (9, 4, 0):
        result = app.send_task("peer.add", (priority, 1), queue=queue, priority=priority)
        say(id=result.id, priority=priority)


def send_by_rank(url: str, queue: str) -> None:
    """On RabbitMQ: greater is more urgent; one message says nothing of a priority."""
    app = make_app(url)
    app.conf.task_queue_max_priority = 9
    for priority in (0, 4, 9):
        app.send_task("peer.add", (priority, 1), queue=queue, priority=priority)
    app.send_task("peer.add", (0, 2), queue=queue)
    say(sent=True)


def take_by_rank(url: str, queue: str, count: str) -> None:
    """On RabbitMQ: say the priorities of what is there, in the order of the broker."""
    app = make_app(url)
    app.conf.task_queue_max_priority = 9
    with app.connection_for_read() as connection:
        place = app.amqp.queues[queue](connection.default_channel)
        for _ in range(int(count)):
            message = place.get(no_ack=True)
            say(priority=message.properties.get("priority"))


def send_to_exchange(url: str, exchange: str, routing_key: str) -> None:
    app = make_app(url)
    producer = app.amqp.Producer(app.connection_for_write().default_channel)
    producer.publish({"hello": 1}, exchange=exchange, routing_key=routing_key)
    say(sent=True)


def read(url: str, task_id: str) -> None:
    result = make_app(url).AsyncResult(task_id)
    say(state=result.state, value=result.get(timeout=10))


def work(url: str, queue: str) -> None:
    from celery.signals import (  # type: ignore[import-not-found, unused-ignore]
        task_success,
        worker_ready,
    )

    app = make_app(url)

    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator, unused-ignore]
    def ready(**_: Any) -> None:
        say(ready=True)

    @task_success.connect(weak=False)  # type: ignore[untyped-decorator, unused-ignore]
    def done(sender: Any, **_: Any) -> None:
        say(ran=sender.request.id)

    app.worker_main(
        ["worker", "-P", "solo", "-Q", queue, "--without-mingle", "--without-gossip", "-l", "error"]
    )


if __name__ == "__main__":
    what: dict[str, Callable[..., None]] = {
        "send": send,
        "send_by_rank": send_by_rank,
        "send_to_exchange": send_to_exchange,
        "take_by_rank": take_by_rank,
        "read": read,
        "work": work,
    }
    what[sys.argv[1]](*sys.argv[2:])
