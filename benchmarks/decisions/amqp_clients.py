"""CPU time of AMQP clients for each message of a task: docs/design/0012.

Run: python benchmarks/decisions/amqp_clients.py LIBRARY [URL]; the library (amqp, pika, amqpstorm
or umbel) has to be installed, and RabbitMQ to run. Prints microseconds of CPU time of this process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from umbel.model.delivery import Ack, Delivery, Settlement
from umbel.model.message import EncodedMessage
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue

COUNT = 4000
TASK_ID = "d9b2d63d-a233-4123-847a-7a0b1ac4f5a1"
HEADERS: dict[str, Any] = {
    "lang": "py", "task": "tasks.add", "id": TASK_ID, "shadow": None, "eta": None, "expires": None,
    "group": None, "group_index": None, "retries": 0, "timelimit": [None, None],
    "root_id": TASK_ID, "parent_id": None, "argsrepr": "(2, 3)", "kwargsrepr": "{}",
    "origin": "gen123@host", "ignore_result": False, "replaced_task_nesting": 0,
    "stamped_headers": None, "stamps": {},
}  # fmt: skip
FIELDS: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "delivery_mode": 2,
    "priority": 0,
    "correlation_id": TASK_ID,
    "reply_to": TASK_ID,
}
BODY = b"[[2, 3], {}, {}]" + b" " * 64


def measured(name: str, what: str, work: Callable[[], None]) -> None:
    """Run it and print the CPU time for each message."""
    began = time.process_time()
    work()
    print(f"{name} {what}: {(time.process_time() - began) / COUNT * 1e6:.0f} us")


def with_amqp(url: str, queue: str) -> None:
    """py-amqp, Celery's own."""
    import amqp
    from amqp.basic_message import Message

    vhost = url.rpartition("/")[2] or "/"
    connection = amqp.Connection("127.0.0.1:5672", virtual_host=vhost, confirm_publish=True)
    connection.connect()
    channel = connection.channel()
    channel.queue_declare(queue, auto_delete=False, durable=True)
    left = COUNT

    def publish() -> None:
        for _ in range(COUNT):
            message = Message(BODY, application_headers=HEADERS, **FIELDS)
            channel.basic_publish_confirm(message, "", queue)

    def take(message: Any) -> None:
        nonlocal left
        channel.basic_ack(message.delivery_tag)
        left -= 1

    def consume() -> None:
        channel.basic_qos(0, 100, False)
        channel.basic_consume(queue, callback=take)
        while left:
            connection.drain_events()

    measured("amqp", "publish", publish)
    measured("amqp", "consume", consume)
    channel.queue_delete(queue)


def with_pika(url: str, queue: str) -> None:
    """pika's blocking connection."""
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)

    def publish() -> None:
        for _ in range(COUNT):
            properties = pika.BasicProperties(headers=HEADERS, **FIELDS)
            channel.basic_publish("", queue, BODY, properties, mandatory=True)

    def consume() -> None:
        channel.basic_qos(prefetch_count=100)
        for done, (method, _, _) in enumerate(channel.consume(queue), 1):
            channel.basic_ack(method.delivery_tag)
            if done == COUNT:
                return

    measured("pika", "publish", publish)
    measured("pika", "consume", consume)
    channel.queue_delete(queue)


def with_amqpstorm(url: str, queue: str) -> None:
    """amqpstorm, which has a thread that reads."""
    import amqpstorm

    channel = amqpstorm.UriConnection(url).channel()
    channel.confirm_deliveries()
    channel.queue.declare(queue, durable=True)

    def publish() -> None:
        for _ in range(COUNT):
            fields = {"headers": HEADERS, **FIELDS}
            channel.basic.publish(BODY, queue, properties=fields, mandatory=True)

    def consume() -> None:
        channel.basic.qos(100)
        channel.basic.consume(queue=queue)
        for done, message in enumerate(channel.build_inbound_messages(), 1):
            message.ack()
            if done == COUNT:
                return

    measured("amqpstorm", "publish", publish)
    measured("amqpstorm", "consume", consume)
    channel.queue.delete(queue)


def with_umbel(url: str, queue: str) -> None:
    """This driver: batches of a hundred, as a busy worker has them."""
    from umbel.drivers.opening import open_broker

    broker, place = open_broker(url), Queue(queue)
    properties = {name: FIELDS[name] for name in list(FIELDS)[2:]}
    message = EncodedMessage(
        headers=HEADERS,
        properties=properties,
        body=BODY,
        content_type="application/json",
        content_encoding="utf-8",
    )
    presence = Presence(
        owner=queue, name="b", pid=1, pool="solo", concurrency=1, queues=(queue,), version="0",
        started=0.0,
    )  # fmt: skip
    publisher = broker.open_publisher()
    consumer = broker.open_consumer([place], presence=presence, lease=60.0)

    def publish_each() -> None:
        for _ in range(COUNT):
            publisher.publish([Outgoing(message=message, queue=place)], timeout=10.0)

    def publish_many() -> None:
        for _ in range(COUNT // 100):
            publisher.publish([Outgoing(message=message, queue=place)] * 100, timeout=10.0)

    def consume() -> None:
        done = 0
        given: Sequence[Delivery] = consumer.receive(100, 10.0)
        while done < COUNT:
            done += len(given)
            given = consumer.exchange([Settlement(g.receipt, Ack()) for g in given], 100).deliveries
            if not given and done < COUNT:
                given = consumer.receive(100, 10.0)

    measured("umbel", "publish one by one", publish_each)
    measured("umbel", "publish by hundreds", publish_many)
    measured("umbel", "consume", consume)
    consumer.close()
    broker.purge(queue)


if __name__ == "__main__":
    library = sys.argv[1]
    where = sys.argv[2] if len(sys.argv) > 2 else "amqp://guest:guest@127.0.0.1:5672/%2F"
    globals()[f"with_{library}"](where, f"bench-{library}-{time.time_ns()}")
