"""What is promised of RabbitMQ alone: bad input in one sentence, lost connections, routing."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.rabbitmq_broker import PLACE, VirtualHost, rabbitmqctl
from tests.redis_server import free_port
from umbel.drivers.amqp import AmqpDriver
from umbel.drivers.amqp.address import read
from umbel.drivers.amqp.broker import AmqpBroker
from umbel.drivers.amqp.refusals import declaring
from umbel.errors import BrokerUnavailable, ImproperlyConfigured, OperationalError, Unroutable
from umbel.model.delivery import Ack, Delivery, Quarantine
from umbel.model.queues import Outgoing, Queue
from umbel.model.revocation import Revocation
from umbel.testing.conformance.station import (
    Station,
    message,
    new_id,
    outgoing,
    presence,
    settlement,
    station_of,
    take,
    task_ids,
)
from umbel.wire import envelope

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def broker(rabbitmq: VirtualHost) -> Iterator[AmqpBroker]:
    broker = AmqpDriver(rabbitmq.url(), {}).broker()
    yield broker
    broker.close()


@pytest.fixture
def station(broker: AmqpBroker) -> Iterator[Station]:
    with station_of(broker, None) as station:
        yield station


def said_by(url: str, **options: object) -> str:
    """Return what is said when this broker is asked for something."""
    with pytest.raises(OperationalError) as caught:
        AmqpDriver(url, options).broker().ping()
    text = str(caught.value)
    assert "secret" not in text
    assert text.endswith(".")
    return text


def headers_of(delivery: Delivery) -> dict[str, object]:
    return dict(envelope.load(delivery.raw).headers)


# --- bad input ------------------------------------------------------------------------------------


def test_a_virtual_host_that_is_not_there() -> None:
    said = said_by(f"amqp://guest:guest@{PLACE}/nowhere")
    assert "there is no virtual host 'nowhere': make it with 'rabbitmqctl add_vhost'" in said


def test_a_wrong_password() -> None:
    said = said_by(f"amqp://guest:secret@{PLACE}//")
    assert "it does not accept user 'guest' with this password" in said


def test_a_refused_connection() -> None:
    port = free_port()
    said = said_by(f"amqp://guest:secret@127.0.0.1:{port}//")
    assert "cannot be reached" in said
    assert f"127.0.0.1:{port}: Connection refused" in said


def test_tls_where_there_is_none() -> None:
    said = said_by(f"amqps://guest:secret@{PLACE}//")
    assert "does not speak TLS on this port" in said
    assert "amqp://" in said


def test_a_port_that_speaks_something_else() -> None:
    """What a TLS port, or any other server, says to a client that begins with AMQP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            peer.recv(8)
            peer.sendall(b"\x15\x03\x01\x00\x02\x02\x46")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        said = said_by(f"amqp://guest:secret@127.0.0.1:{server.getsockname()[1]}//")
        thread.join()
    assert "it does not speak AMQP 0-9-1 on this port; with TLS the URL begins with amqps" in said


@pytest.fixture(scope="module")
def stranger(rabbitmq: VirtualHost) -> Iterator[str]:
    """A user without any permission, as credentials of a URL."""
    name = f"umbel-{secrets.token_hex(4)}"
    rabbitmqctl("add_user", name, "secret")
    yield f"{name}:secret"
    rabbitmqctl("delete_user", name)


def test_a_user_without_access(rabbitmq: VirtualHost, stranger: str) -> None:
    said = said_by(rabbitmq.url(stranger))
    assert f"may not use the virtual host '{rabbitmq.name}'" in said
    assert "rabbitmqctl set_permissions" in said


def test_a_user_who_may_only_write(rabbitmq: VirtualHost, stranger: str, station: Station) -> None:
    queue = Queue(f"suite-{new_id()[:12]}")
    station.broker.declare([queue])
    user = stranger.partition(":")[0]
    rabbitmqctl("set_permissions", "-p", rabbitmq.name, user, "^$", ".*", "^$")
    broker = AmqpDriver(rabbitmq.url(stranger), {}).broker()
    publisher = broker.open_publisher()
    task_id = new_id()
    publisher.publish([outgoing(queue, task_id)], timeout=10.0)
    assert task_ids(take(station.consumer(queue), 1)) == [task_id]
    absent = Queue(f"absent-{new_id()[:12]}")
    with pytest.raises(Unroutable, match=f"No queue of .* takes a message for '{absent.name}'"):
        publisher.publish([outgoing(absent, new_id())], timeout=10.0)
    publisher.close()


def test_a_queue_that_exists_with_other_arguments(station: Station) -> None:
    name = f"suite-{new_id()[:12]}"
    station.broker.declare([Queue(name, max_priority=5)])
    sentence = f"The queue '{name}' exists on .* with another x-max-priority: there it is 5, here 9"
    with pytest.raises(ImproperlyConfigured, match=sentence) as caught:
        station.broker.declare([Queue(name, max_priority=9)])
    assert "task_queue_max_priority" in str(caught.value)
    other = Queue(name, arguments={"x-queue-type": "quorum"})
    for use in (lambda: station.send(other), lambda: station.consumer(other)):
        with pytest.raises(ImproperlyConfigured, match="with another x-max-priority"):
            use()
    assert station.send(Queue(name, max_priority=5))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hearbeat": 3}, "'hearbeat': no such option for amqp://h//. Did you mean 'heartbeat'"),
        ({"heartbeat": "often"}, "must be a number"),
        ({"native_delayed_delivery_queue_type": "tall"}, "must be 'quorum' or 'classic'"),
        ({"login_method": "KERBEROS"}, "must be 'PLAIN' or 'EXTERNAL'"),
    ],
)
def test_a_wrong_option(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        AmqpDriver("amqp://h//", options)


# --- connections ----------------------------------------------------------------------------------


def test_the_next_host_is_tried(rabbitmq: VirtualHost) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}/{rabbitmq.name};{PLACE}"
    broker = AmqpDriver(url, {}).broker()
    assert broker.ping().startswith("RabbitMQ ")
    broker.close()


def test_a_connection_that_the_broker_closed(rabbitmq: VirtualHost, station: Station) -> None:
    queue = Queue(f"suite-{new_id()[:12]}")
    station.broker.declare([queue])
    ids = station.send(queue)
    consumer = station.consumer(queue)
    (stale,) = take(consumer, 1)
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(queue, new_id())], timeout=10.0)
    rabbitmq.close_connections()
    # A publisher that was idle notices before it sends, so nothing is uncertain.
    publisher.publish([outgoing(queue, new_id())], timeout=10.0)
    publisher.close()
    try:
        lost: Sequence[str] = consumer.exchange([settlement(stale, Ack())], 0).lost
    except BrokerUnavailable:
        lost = consumer.exchange([settlement(stale, Ack())], 0).lost
    assert list(lost) == [stale.receipt]
    again = take(consumer, 3)
    assert ids[0] in task_ids(again)
    assert next(each for each in again if task_ids([each]) == ids).redelivered


def test_workers_run_tasks_while_the_streams_cannot_be_used(
    station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that crashes in the first seconds of a stream loses it, and says so for ever."""
    queue = Queue(f"suite-{new_id()[:12]}")
    station.broker.declare([queue])
    revoked = Revocation(task_id=new_id())
    station.broker.revoke([revoked], keep=60)
    ids = station.send(queue)

    def refuse(*_: object, **__: object) -> None:
        text = (
            "NOT_FOUND - home node 'x' of durable queue 'umbel.revocations' is down or inaccessible"
        )
        raise declaring(404, text, "queue 'umbel.revocations'", read("amqp://h//", {}))

    with monkeypatch.context() as patch, caplog.at_level("WARNING"):
        patch.setattr("umbel.drivers.amqp.fleet.declare", refuse)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        assert task_ids([delivery]) == ids
        assert list(consumer.extend([delivery.receipt], presence())) == []
        (said,) = [each.message for each in caplog.records if "revocations" in each.message]
        assert said.startswith(
            "Neither revocations nor presences work: The queue 'umbel.revocations'"
        )
        assert "its node is starting or away, or lost it in a crash" in said
        assert not consumer.revocations()
    assert list(consumer.extend([delivery.receipt], presence())) == []
    assert revoked.task_id in {each.task_id for each in consumer.revocations()}


# --- what is only here ----------------------------------------------------------------------------


def test_exchanges_of_every_type(station: Station) -> None:
    for kind, key in (("topic", "a.b"), ("fanout", ""), ("headers", "x"), ("direct", "straight")):
        name = f"suite-{new_id()[:12]}"
        queue = Queue(name, exchange=f"{name}-x", exchange_type=kind, routing_key=key)
        station.broker.declare([queue])
        now, later = station.send(queue), new_id()
        due = datetime.now(UTC) + timedelta(seconds=0.5)
        station.publish(outgoing(queue, later, due_at=due))
        found = take(station.consumer(queue), 2)
        assert task_ids(found) == [*now, later], kind


def test_delays_of_queues_whose_names_end_alike(station: Station) -> None:
    tail = new_id()[:12]
    short, long = Queue(tail), Queue(f"other.{tail}")
    station.broker.declare([short, long])
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    (task_id,) = station.send(long, due_at=due)
    assert task_ids(take(station.consumer(long), 1)) == [task_id]
    assert not station.consumer(short).receive(1, 0.2)


def test_the_broker_is_not_told_of_an_expiry(station: Station) -> None:
    queue = Queue(f"suite-{new_id()[:12]}")
    station.broker.declare([queue])
    sent = message(new_id())
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    expired = msgspec.structs.replace(
        sent,
        headers={**sent.headers, "expires": past},
        properties={**sent.properties, "expiration": "0"},
    )
    station.publish(Outgoing(message=expired, queue=queue))
    (delivery,) = take(station.consumer(queue), 1)
    assert headers_of(delivery)["expires"] == past


def test_what_is_set_aside_says_why(station: Station, rabbitmq: VirtualHost) -> None:
    queue = Queue(f"suite-{new_id()[:12]}")
    station.broker.declare([queue])
    ids = station.send(queue)
    consumer = station.consumer(queue)
    (delivery,) = take(consumer, 1)
    consumer.exchange([settlement(delivery, Quarantine("poison", "it kills"))], 0)
    (found,) = take(station.consumer(Queue(f"umbel.quarantine.{queue.name}")), 1)
    headers = headers_of(found)
    assert task_ids([found]) == ids
    assert (headers["x-umbel-reason"], headers["x-umbel-detail"]) == ("poison", "it kills")
    assert (headers["x-umbel-queue"], headers["x-umbel-count"]) == (queue.name, 1)
    assert headers["x-umbel-worker"] == "worker@suite"


def test_a_busy_consumer_gives_back_what_it_has_no_room_for(station: Station) -> None:
    queue = Queue(f"suite-{new_id()[:12]}")
    station.broker.declare([queue])
    consumer = station.consumer(queue)
    assert not consumer.receive(10, 0.05)
    ids = station.send(queue, 5)
    consumer.receive(0, 1.0)
    assert sorted(task_ids(take(station.consumer(queue), 5))) == sorted(ids)
