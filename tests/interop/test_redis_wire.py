"""Real Celery and this driver on one Redis: each runs, answers and leaves alone what it should."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tests.interop.conftest import CeleryProcess
from tests.redis_server import RedisServer
from umbel.drivers.redis import RedisDriver
from umbel.drivers.redis.connection import BROKER, Connection
from umbel.model.delivery import Ack
from umbel.model.message import TaskMessage
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue
from umbel.ports import Consumer
from umbel.testing.conformance.station import (
    eventually,
    new_id,
    presence,
    settlement,
    take,
    task_ids,
)
from umbel.wire import envelope, result_meta, task_v2
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_message import decode

pytestmark = [pytest.mark.redis, pytest.mark.slow]

JSON = SERIALIZERS.get("json")
CELERY = Queue("celery")
Start = Callable[..., CeleryProcess]


@pytest.fixture
def driver(server: RedisServer) -> Iterator[RedisDriver]:
    # The same short timeout as the peer's, so that both restore what the other's kind left.
    driver = RedisDriver(server.url(), {"visibility_timeout": 2})
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def me() -> Presence:
    return presence()


@pytest.fixture
def consumer(driver: RedisDriver, me: Presence) -> Iterator[Consumer]:
    consumer = driver.broker().open_consumer(
        [CELERY], presence=me, lease=15.0, results=driver.result_backend()
    )
    yield consumer
    consumer.close()


def outgoing(task_id: str) -> Outgoing:
    message = TaskMessage(id=task_id, task="peer.add", args=(4, 5), root_id=task_id)
    return Outgoing(message=task_v2.encode(message, serializer=JSON), queue=CELERY)


def send(driver: RedisDriver, *messages: Outgoing) -> None:
    publisher = driver.broker().open_publisher()
    publisher.publish(messages, timeout=10)
    publisher.close()


def hold_as_celery(driver: RedisDriver, task_id: str, since: float) -> str:
    """Put a message where a Celery worker keeps what it was delivered then; return the id."""
    raw = envelope.dump_kombu(
        outgoing(task_id).message, exchange="", routing_key="celery", delivery_tag=task_id
    )
    entry = json.dumps([json.loads(raw), "", "celery"])
    connection = Connection(driver.result_backend().address, BROKER)
    deadline = time.monotonic() + 10
    connection.call(("HSET", "unacked", task_id, entry), deadline)
    connection.call(("ZADD", "unacked_index", since, task_id), deadline)
    connection.close()
    return task_id


def success(task_id: str, value: int) -> ResultRecord:
    document = result_meta.encode(
        task_id=task_id,
        status="SUCCESS",
        result=value,
        date_done=datetime.now(UTC),
        serializer=JSON,
    )
    return ResultRecord(
        task_id=task_id, state="SUCCESS", document=document, final=True, expires=600.0
    )


def test_a_celery_clients_messages_are_claimed_at_every_priority(
    server: RedisServer, consumer: Consumer, celery: Start
) -> None:
    peer = celery("send", server.url(), "celery")
    sent = {word["priority"]: word["id"] for word in (peer.hear() for _ in range(3))}
    peer.close()
    deliveries = take(consumer, 3)
    assert sorted(task_ids(deliveries)) == sorted(sent.values())
    for delivery in deliveries:
        encoded = envelope.load(delivery.raw)
        message = decode(encoded, accept=frozenset({JSON.content_type}), serializers=SERIALIZERS)
        assert message.task == "peer.add"
        assert tuple(message.args) == (message.priority, 1)


def test_priorities_of_a_celery_client_come_in_order(
    server: RedisServer, driver: RedisDriver, celery: Start
) -> None:
    peer = celery("send", server.url(), "ordered")
    sent = {word["priority"]: word["id"] for word in (peer.hear() for _ in range(3))}
    consumer = driver.broker().open_consumer([Queue("ordered")], presence=presence(), lease=15.0)
    assert task_ids(take(consumer, 3)) == [sent[0], sent[4], sent[9]]
    consumer.close()


def test_a_binding_declared_here_routes_a_celery_clients_message(
    server: RedisServer, driver: RedisDriver, celery: Start
) -> None:
    bound = Queue("pictures", exchange="media", routing_key="media.*.img", exchange_type="topic")
    plain = Queue("plain", exchange="direct-one", routing_key="key")
    driver.broker().declare([bound, plain])
    assert celery("send_to_exchange", server.url(), "direct-one", "key").hear() == {"sent": True}
    (stats,) = driver.broker().stats(["plain"])
    assert stats.ready == 1


def test_our_result_is_read_by_a_celery_client(
    server: RedisServer, driver: RedisDriver, consumer: Consumer, celery: Start
) -> None:
    task_id = new_id()
    send(driver, outgoing(task_id))
    (delivery,) = take(consumer, 1)
    consumer.exchange([settlement(delivery, Ack(), records=[success(task_id, 9)])], 0)
    assert celery("read", server.url(), task_id).hear() == {"state": "SUCCESS", "value": 9}


def test_a_celery_worker_runs_our_message_and_we_hear_of_its_result(
    server: RedisServer, driver: RedisDriver, celery: Start
) -> None:
    task_id = new_id()
    watcher = driver.result_backend().open_watcher()
    assert watcher.watch([task_id]) == {}
    worker = celery("work", server.url(), "celery")
    assert worker.hear() == {"ready": True}
    send(driver, outgoing(task_id))
    assert worker.hear() == {"ran": task_id}
    (heard,) = eventually(lambda: watcher.receive(1.0))
    watcher.close()
    assert heard.state == "SUCCESS"
    fields = result_meta.decode(heard.document, serializer=JSON)
    assert fields["result"] == 9
    assert driver.result_backend().fetch([task_id])[task_id].document == heard.document


def test_a_celery_worker_never_takes_a_claim_of_ours(
    server: RedisServer, driver: RedisDriver, consumer: Consumer, me: Presence, celery: Start
) -> None:
    task_id = new_id()
    send(driver, outgoing(task_id))
    (delivery,) = take(consumer, 1)
    worker = celery("work", server.url(), "celery")
    assert worker.hear() == {"ready": True}
    # What lies in its own place for as long as our claim, it does hand out again.
    bait = hold_as_celery(driver, new_id(), since=time.time())
    assert worker.hear() == {"ran": bait}
    assert list(consumer.extend([delivery.receipt], me)) == []
    assert worker.hears_nothing(0.0)
    assert driver.result_backend().fetch([task_id]) == {}
    assert consumer.exchange([settlement(delivery, Ack())], 0).lost == ()
    # It does work: what is in the queue it runs.
    other = new_id()
    send(driver, outgoing(other))
    assert worker.hear() == {"ran": other}


def test_what_a_dead_celery_worker_held_comes_back(
    server: RedisServer, driver: RedisDriver, celery: Start
) -> None:
    """The entry is of the form a Celery worker leaves when it is killed with a message in hand."""
    task_id = hold_as_celery(driver, new_id(), since=1.0)
    consumer = driver.broker().open_consumer([CELERY], presence=presence(), lease=15.0)
    (delivery,) = take(consumer, 1)
    assert task_ids([delivery]) == [task_id]
    assert envelope.peek(delivery.raw).redelivered
    connection = Connection(driver.result_backend().address, BROKER)
    left = connection.call(("EXISTS", "unacked", "unacked_index"), time.monotonic() + 10)
    assert left == 0
    consumer.close()
    connection.close()
