"""In the profile ``umbel`` one program has one order of urgency, whichever broker is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp import commands

from tests.rabbitmq_broker import VirtualHost
from umbel import Umbel
from umbel.app.app import App
from umbel.app.celery_app import Celery
from umbel.drivers.amqp.address import read
from umbel.drivers.amqp.connection import BROKER, Connection
from umbel.drivers.amqp.frames import Delivered
from umbel.model.delivery import Ack, Effects, Settlement
from umbel.model.queues import Outgoing, Queue
from umbel.testing.conformance.station import presence, take
from umbel.wire import envelope

SENT = (6, None, 9, 3, 0)
"""Of every step of Redis one. None says nothing, which is 0."""
NUMBERS = [each or 0 for each in SENT]
KINDS = [
    "memory",
    "sqlite",
    pytest.param("redis", marks=pytest.mark.redis),
    "postgres",
    pytest.param("amqp", marks=pytest.mark.rabbitmq),
]
FIXTURES = {"redis": "redis_url", "postgres": "postgres_url"}


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[VirtualHost]:
    host = VirtualHost()
    yield host
    host.close()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kind = request.param
    if kind == "amqp":
        return str(request.getfixturevalue("rabbitmq").url())
    if kind in FIXTURES:
        return str(request.getfixturevalue(FIXTURES[kind]))
    return "memory://one-scale" if kind == "memory" else f"sqlite:///{tmp_path}/scale.sqlite3"


def made(kind: type[App], url: str, most: int = 9, **changes: Any) -> tuple[App, Queue]:
    app = kind("scale", broker=url, backend="memory://one-scale", **changes)
    name = f"scale-{most}-{kind.__name__}"
    app.conf.update(task_default_queue=name, task_queue_max_priority=most)
    return app, app.router.default


def send(app: App, *priorities: int | None) -> None:
    """Send a message of each priority; None says nothing of one."""
    for each in priorities:
        if each is None:
            app.send_task("scale.any", (each,))
        else:
            app.send_task("scale.any", (each,), priority=each)


def claimed(app: App, queue: Queue, count: int) -> list[int]:
    """Claim and acknowledge messages; return the priorities that they show."""
    consumer = app.broker.open_consumer([queue], presence=presence(), lease=60)
    try:
        found = [each for _ in range(count) for each in take(consumer, 1)]
        consumer.exchange([Settlement(each.receipt, Ack()) for each in found], 0)
        return [int(envelope.load(each.raw).properties["priority"]) for each in found]
    finally:
        consumer.close()


def test_a_program_moves_between_brokers_unchanged(url: str) -> None:
    app, queue = made(Umbel, url)
    app.broker.declare([queue])
    send(app, *SENT)
    assert claimed(app, queue, 5) == sorted(NUMBERS)
    app.close()


def test_what_follows_a_run_is_mapped_once(url: str) -> None:
    """Read, sent again by the settlement as it shows itself, read again."""
    app, queue = made(Umbel, url)
    app.broker.declare([queue])
    send(app, 3)
    consumer = app.broker.open_consumer([queue], presence=presence(), lease=60)
    for _ in range(3):
        (one,) = take(consumer, 1)
        message = envelope.load(one.raw)
        assert message.properties["priority"] == 3
        anew = Outgoing(message=message, queue=queue)
        consumer.exchange([Settlement(one.receipt, Ack(), Effects(outgoing=(anew,)))], 0)
    consumer.close()
    assert claimed(app, queue, 1) == [3]
    app.close()


# --- RabbitMQ, looked at from outside ------------------------------------------------------------


def on_the_wire(url: str, queue: Queue, count: int) -> list[int | None]:
    """Return the priorities that RabbitMQ itself shows, in its order."""
    connection = Connection(read(url, {}), BROKER)
    deadline = float("inf")
    connection.ensure(deadline)
    connection.open_channel(1, deadline)
    consume = commands.Basic.Consume(queue=queue.name, consumer_tag="look", no_ack=True)
    connection.call(1, consume, commands.Basic.ConsumeOk, deadline)
    found: list[int | None] = []
    while len(found) < count:
        if not connection.events:
            connection.take(deadline)
        event = connection.events.popleft()
        if isinstance(event, Delivered):
            found.append(event.properties.priority)
    connection.close()
    return found


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("most", "wire"), [(9, [9, 9, 6, 3, 0]), (3, [3, 3, 2, 1, 0]), (10, [9, 9, 6, 3, 0])]
)
def test_rabbitmq_is_told_its_own_numbers(
    rabbitmq: VirtualHost, most: int, wire: list[int]
) -> None:
    app, queue = made(Umbel, rabbitmq.url(), most)
    send(app, *SENT)
    assert on_the_wire(rabbitmq.url(), queue, 5) == wire
    app.close()


@pytest.mark.rabbitmq
def test_the_profile_celery_keeps_the_numbers_of_celery(rabbitmq: VirtualHost) -> None:
    app, queue = made(Celery, rabbitmq.url())
    send(app, *SENT)
    assert on_the_wire(rabbitmq.url(), queue, 5) == sorted(NUMBERS, reverse=True)
    send(app, *SENT)
    assert claimed(app, queue, 5) == sorted(NUMBERS, reverse=True)
    app.close()


@pytest.mark.rabbitmq
def test_a_delayed_message_keeps_its_place(rabbitmq: VirtualHost) -> None:
    app, queue = made(Umbel, rabbitmq.url(), 5)
    app.send_task("scale.any", (1,), priority=8, countdown=0.1)
    assert on_the_wire(rabbitmq.url(), queue, 1) == [1]
    app.close()
