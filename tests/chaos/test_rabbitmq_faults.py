"""RabbitMQ is restarted, killed, starved; it closes connections; networks go silent."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.chaos.proxy import Proxy
from tests.e2e.worker_desk import Desk
from tests.rabbitmq_node import RabbitNode
from tests.redis_server import RedisServer
from umbel.drivers.amqp import AmqpDriver
from umbel.errors import BrokerUnavailable, OperationalError, OutcomeUnknown
from umbel.model.delivery import Ack
from umbel.model.queues import Queue
from umbel.testing.conformance.station import (
    Station,
    eventually,
    new_id,
    outgoing,
    presence,
    settlement,
    station_of,
    take,
    task_ids,
)

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

T = TypeVar("T")

QUORUM = {"x-queue-type": "quorum"}


def queue_of(kind: str) -> Queue:
    return Queue(f"faulty-{new_id()[:12]}", arguments=QUORUM if kind == "quorum" else {})


@pytest.fixture
def station(rabbit_node: RabbitNode) -> Iterator[Station]:
    broker = AmqpDriver(rabbit_node.url(), {}).broker()
    with station_of(broker, None) as station:
        yield station
    broker.close()


@pytest.fixture
def proxy(rabbit_node: RabbitNode) -> Iterator[Proxy]:
    proxy = Proxy(rabbit_node.port)
    yield proxy
    proxy.close()


@pytest.fixture
def far(rabbit_node: RabbitNode, proxy: Proxy) -> Iterator[Station]:
    """A station whose network can be broken."""
    options = {"heartbeat": 1.0, "socket_timeout": 1.0}
    broker = AmqpDriver(rabbit_node.url(proxy.port), options).broker()
    with station_of(broker, None) as station:
        yield station
    broker.close()


def until_it_works(call: Callable[[], T]) -> T:
    """Call until the broker is available; return what came then."""
    found: list[T] = []

    def attempt() -> bool:
        try:
            found.append(call())
        except BrokerUnavailable:
            return False
        return True

    eventually(attempt)
    return found[0]


# --- a fleet at work ------------------------------------------------------------------------------


@pytest.fixture
def results() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(params=["classic", "quorum"])
def desk(
    request: pytest.FixtureRequest, rabbit_node: RabbitNode, results: RedisServer, tmp_path: Path
) -> Iterator[Desk]:
    desk = Desk(
        tmp_path,
        rabbit_node.url(),
        results.url(),
        task_default_queue=f"fleet-{new_id()[:12]}",
        task_default_queue_type=request.param,
        # A quorum queue counts what its own restarts give back, whoever held it.
        task_max_deliveries=100,
        broker_publish_timeout=2.0,
    )
    yield desk
    desk.close()


class Sender:
    """Calls a task without end, and remembers the calls of which it was told that they are there.

    Whoever is told that nothing was sent, or that it is unknown, would call again: so does this.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.sent: list[tuple[int, object]] = []
        self.failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            number = len(self.sent)
            try:
                self.sent.append((number, self._desk.tasks.add.delay(number, 1)))
            except OperationalError:
                self.failures += 1
                self._stopping.wait(0.05)

    def await_more(self, count: int = 50) -> None:
        """Wait until so many calls more were confirmed."""
        wanted = len(self.sent) + count
        eventually(lambda: len(self.sent) >= wanted, patience=60)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)


def test_a_fleet_loses_nothing_whatever_happens_to_the_broker(
    desk: Desk, rabbit_node: RabbitNode
) -> None:
    """Closed connections, an orderly restart, a crash: each confirmed call has a result.

    A node is not killed under a quorum queue here: RabbitMQ 3.10 alone on a machine was seen to
    leave a young one without a leader then ("leader not known"), which no client can mend.
    """
    quorum = desk.app.conf.task_default_queue_type == "quorum"
    faults = [rabbit_node.stop] if quorum else [rabbit_node.stop, rabbit_node.kill]
    with desk.worker("-c", "2") as one, desk.worker("-c", "2"):
        sender = Sender(desk)
        try:
            sender.await_more()
            rabbit_node.ctl("close_all_connections", "a test")
            sender.await_more()
            for fault in faults:
                fault()
                failures = sender.failures
                eventually(lambda known=failures: sender.failures > known)
                rabbit_node.start()
                sender.await_more()
        finally:
            sender.stop()
        assert "Traceback" not in one.output
        for number, result in sender.sent:
            assert result.get(timeout=60) == number + 1  # type: ignore[attr-defined]
        assert one.end() == 0


def test_what_a_killed_worker_held_is_run_by_another(desk: Desk) -> None:
    with desk.worker("-c", "1") as dying:
        result = desk.tasks.wait_for.delay("gate")
        eventually(lambda: desk.lines("began-gate"))
        dying.signal(signal.SIGKILL)
        dying.wait()
    desk.create("gate")
    with desk.worker("-c", "1"):
        assert result.get(timeout=30) == "gate"
    assert len(desk.lines("began-gate")) == 2


# --- one connection at a time ---------------------------------------------------------------------


def test_claims_and_messages_survive_a_crash(station: Station, rabbit_node: RabbitNode) -> None:
    queue = queue_of("classic")
    station.broker.declare([queue])
    ids = station.send(queue, 4)
    consumer = station.consumer(queue)
    held = take(consumer, 2)
    rabbit_node.kill()
    with pytest.raises(BrokerUnavailable, match=r"The connection to the broker amqp://.* was lost"):
        consumer.receive(1, 10)
    with pytest.raises(BrokerUnavailable, match=r"cannot be reached.*Connection refused"):
        consumer.receive(1, 10)
    rabbit_node.start()
    acks = [settlement(each, Ack()) for each in held]
    lost = until_it_works(lambda: consumer.exchange(acks, 0).lost)
    assert lost == tuple(each.receipt for each in held)
    again = take(consumer, 4)
    assert sorted(task_ids(again)) == sorted(ids)
    assert [each.redelivered for each in again if each.count > 1] == [True] * sum(
        each.count > 1 for each in again
    )
    assert consumer.exchange([settlement(each, Ack()) for each in again], 0).lost == ()


def test_a_silent_network_ends_a_publish_in_time(far: Station, proxy: Proxy) -> None:
    queue = queue_of("classic")
    publisher = far.broker.open_publisher()
    publisher.publish([outgoing(queue, new_id())], timeout=10)
    proxy.swallow()
    with pytest.raises(OutcomeUnknown, match="has not confirmed 1 messages in time"):
        publisher.publish([outgoing(queue, new_id())], timeout=0.5)
    proxy.sever()
    publisher.publish([outgoing(queue, new_id())], timeout=10)
    publisher.close()


def test_a_consumer_whose_network_went_silent_hears_of_it_and_others_get_its_claims(
    far: Station, station: Station, proxy: Proxy
) -> None:
    queue = queue_of("quorum")
    station.broker.declare([queue])
    ids = station.send(queue)
    deaf = far.consumer(queue)
    (held,) = take(deaf, 1)
    proxy.swallow()
    with pytest.raises(BrokerUnavailable, match="nothing was heard for 2 s"):
        deaf.receive(0, 60)
    (again,) = take(station.consumer(queue), 1)
    assert (task_ids([again]), again.redelivered) == (ids, True)
    proxy.sever()
    assert deaf.exchange([settlement(held, Ack())], 0).lost == (held.receipt,)


# --- a broker that is short of memory -------------------------------------------------------------


@pytest.fixture
def starving(rabbit_node: RabbitNode) -> Iterator[Callable[[], None]]:
    yield rabbit_node.starve
    rabbit_node.feed()


def test_a_client_is_told_of_the_alarm_in_time(
    station: Station, rabbit_node: RabbitNode, starving: Callable[[], None]
) -> None:
    queue = queue_of("classic")
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(queue, new_id())], timeout=10)
    starving()
    started = time.monotonic()
    # The first is written before the broker says that it takes none, and may arrive later.
    with pytest.raises(OperationalError, match="because of its low on memory"):
        publisher.publish([outgoing(queue, new_id())], timeout=1)
    with pytest.raises(OperationalError, match="because of its low on memory"):
        publisher.publish([outgoing(queue, new_id())], timeout=1)
    assert time.monotonic() - started < 30
    rabbit_node.feed()
    publisher.publish([outgoing(queue, new_id())], timeout=10)
    publisher.close()


def test_claims_are_kept_and_settled_through_the_alarm(
    station: Station, rabbit_node: RabbitNode, starving: Callable[[], None]
) -> None:
    queue = queue_of("classic")
    station.broker.declare([queue])
    ids = station.send(queue, 3)
    consumer = station.consumer(queue)
    plain, calling, kept = take(consumer, 3)
    starving()
    held = [each.receipt for each in (plain, calling, kept)]
    assert list(consumer.extend(held, presence())) == []
    following = outgoing(queue, new_id())
    both = [settlement(plain, Ack()), settlement(calling, Ack(), outgoing=[following])]
    with pytest.raises(OperationalError, match="because of its low on memory"):
        consumer.exchange(both, 0)
    # What had nothing to send has ended; what has something to send is still ours.
    assert list(consumer.extend(held[1:], presence())) == []
    assert consumer.exchange(both[:1], 0).lost == (plain.receipt,)
    consumer.close()
    rabbit_node.feed()
    again = take(station.consumer(queue), 2)
    assert task_ids(again) == ids[1:]


def test_workers_go_on_through_the_alarm(
    desk: Desk, rabbit_node: RabbitNode, starving: Callable[[], None]
) -> None:
    """What is there already is run, its results are stored; what was held is not run twice."""
    with desk.worker("-c", "1") as worker:
        held = desk.tasks.wait_for.delay("gate")
        eventually(lambda: desk.lines("began-gate"))
        waiting = [desk.tasks.add.delay(number, 1) for number in range(20)]
        starving()
        with pytest.raises(OperationalError, match="because of its low on memory"):
            desk.tasks.add.delay(1, 1)
        desk.create("gate")
        assert held.get(timeout=30) == "gate"
        assert [each.get(timeout=30) for each in waiting] == list(range(1, 21))
        rabbit_node.feed()
        assert desk.tasks.add.delay(1, 1).get(timeout=60) == 2
        assert worker.end() == 0
    assert len(desk.lines("began-gate")) == 1


# --- TLS ------------------------------------------------------------------------------------------


def test_tls_with_a_certificate_that_is_known(rabbit_node: RabbitNode) -> None:
    options = {"ssl_ca_certs": str(rabbit_node.certificate)}
    broker = AmqpDriver(rabbit_node.tls_url(), options).broker()
    queue = queue_of("classic")
    with station_of(broker, None) as station:
        ids = station.send(queue, 500)
        consumer = station.consumer(queue)
        held = take(consumer, 500)
        assert task_ids(held) == ids
        assert consumer.exchange([settlement(each, Ack()) for each in held], 0).lost == ()
    broker.close()


def test_tls_with_a_certificate_that_nobody_vouches_for(rabbit_node: RabbitNode) -> None:
    with pytest.raises(BrokerUnavailable, match=r"(?i)certificate"):
        AmqpDriver(rabbit_node.tls_url(), {}).broker().ping()


def test_amqp_on_the_port_of_tls(rabbit_node: RabbitNode) -> None:
    rabbit_node.tls_url()
    with pytest.raises(BrokerUnavailable, match="with TLS the URL begins with amqps://"):
        AmqpDriver(rabbit_node.url(rabbit_node.tls_port), {}).broker().ping()
