"""The RabbitMQ driver keeps every promise, on classic and on quorum queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from tests.rabbitmq_broker import VirtualHost
from tests.redis_server import free_port
from umbel.drivers.amqp import AmqpDriver
from umbel.drivers.amqp.address import read
from umbel.drivers.amqp.broker import AmqpBroker
from umbel.drivers.amqp.bus import AmqpBus
from umbel.drivers.amqp.result_backend import AmqpResultBackend, ReplyOptions
from umbel.drivers.redis import RedisDriver
from umbel.drivers.redis.result_backend import RedisResultBackend
from umbel.errors import BrokerUnavailable, ImproperlyConfigured
from umbel.model.bus import Spread
from umbel.model.delivery import Requeue
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Queue
from umbel.ports import Broker, Line, ResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
from umbel.testing.conformance.bus_suite import BusSuite, hear, mailbox, notice, topic
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.station import (
    PATIENCE,
    Station,
    eventually,
    new_id,
    record,
    settlement,
    take,
    task_ids,
)

pytestmark = pytest.mark.rabbitmq


class AmqpSuite(BrokerSuite):
    """What both types of queue have in common."""

    @pytest.fixture
    def broker(self, rabbitmq: VirtualHost) -> Iterator[AmqpBroker]:
        broker = AmqpDriver(rabbitmq.url(), {}).broker()
        yield broker
        broker.close()

    @pytest.fixture
    def backend(self, redis_url: str) -> Iterator[RedisResultBackend]:
        backend = RedisDriver(redis_url, {}).result_backend()
        yield backend
        backend.close()

    @pytest.fixture
    def unreachable_broker(self) -> AmqpBroker:
        return AmqpDriver(f"amqp://127.0.0.1:{free_port()}//", {}).broker()

    def made(self, broker: Broker) -> Queue:
        """Return a new queue of the type under test, declared."""
        raise NotImplementedError

    @pytest.fixture
    def queue(self, broker: Broker) -> Queue:
        return self.made(broker)

    @pytest.fixture
    def other(self, broker: Broker) -> Queue:
        return self.made(broker)


class TestClassicQueues(AmqpSuite):
    def made(self, broker: Broker) -> Queue:
        queue = Queue(f"suite-{new_id()[:12]}", max_priority=9)
        broker.declare([queue])
        return queue


class TestQuorumQueues(AmqpSuite):
    def made(self, broker: Broker) -> Queue:
        queue = Queue(f"suite-{new_id()[:12]}", arguments={"x-queue-type": "quorum"})
        broker.declare([queue])
        return queue

    # What differs: a quorum queue counts whatever it gets back, so what nobody began is published
    # anew and stands at the back; and it knows no priorities.

    def test_closing_returns_the_claims_uncounted(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 4)
        leaving = station.consumer(queue)
        take(leaving, 2)
        leaving.close()
        again = take(station.consumer(queue), 4)
        assert task_ids(again) == [*ids[2:], *ids[:2]]
        assert [each.count for each in again] == [1, 1, 1, 1]

    def test_requeue_to_the_front(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 3)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Requeue(front=True))], 0)
        assert task_ids(take(consumer, 3)) == [*ids[1:], ids[0]]

    def test_requeue_keeps_the_priority(self) -> None:
        pytest.skip("a quorum queue knows no priorities")

    def test_urgency_first_then_arrival(self) -> None:
        pytest.skip("a quorum queue knows no priorities")

    def test_more_urgent_first(self) -> None:
        pytest.skip("a quorum queue knows no priorities")

    def test_a_claim_whose_connection_died_is_counted(
        self, station: Station, queue: Queue, rabbitmq: VirtualHost
    ) -> None:
        ids = station.send(queue)
        dying = station.consumer(queue)
        take(dying, 1)
        rabbitmq.close_connections()
        (again,) = take(station.consumer(queue), 1)
        assert (task_ids([again]), again.count, again.redelivered) == (ids, 2, True)


class TestAmqpBus(BusSuite):
    @pytest.fixture
    def bus(self, rabbitmq: VirtualHost) -> AmqpBus:
        return AmqpDriver(rabbitmq.url(), {}).bus()

    @pytest.fixture
    def unreachable_bus(self) -> AmqpBus:
        return AmqpDriver(f"amqp://127.0.0.1:{free_port()}//", {}).bus()

    def test_a_mailbox_that_another_has_is_said_in_a_sentence(self, bus: AmqpBus) -> None:
        box = mailbox(topic(Spread.ALL))
        first, second = bus.open_line([box]), bus.open_line([box])
        first.listen(PATIENCE)
        with pytest.raises(BrokerUnavailable, match="belongs to another connection: to a worker"):
            second.listen(PATIENCE)
        first.close()
        eventually(lambda: _listens(second))
        second.close()

    def test_a_line_listens_again_after_its_connection_was_closed(
        self, bus: AmqpBus, rabbitmq: VirtualHost
    ) -> None:
        about = topic(Spread.ALL)
        line, speaker = bus.open_line([mailbox(about)]), bus.open_line()
        line.listen(PATIENCE)
        rabbitmq.close_connections()
        with pytest.raises(BrokerUnavailable):
            line.receive(PATIENCE)
        line.listen(PATIENCE)
        speaker.tell([notice(about, "again")], timeout=PATIENCE)
        assert hear(line) == ["again"]
        line.close()
        speaker.close()


def _listens(line: Line) -> bool:
    try:
        line.listen(PATIENCE)
    except BrokerUnavailable:
        return False
    return True


class Myself(AmqpResultBackend):
    """A result backend whose results all go to its own process, as if it had sent the tasks."""

    def store(self, records: Sequence[ResultRecord]) -> None:
        super().store([msgspec.structs.replace(each, reply_to=self.reply_to) for each in records])


class TestRpcResults(ResultBackendSuite):
    @pytest.fixture
    def backend(self, rabbitmq: VirtualHost) -> Iterator[AmqpResultBackend]:
        backend = Myself(read(rabbitmq.url(), {}), ReplyOptions())
        yield backend
        backend.close()

    @pytest.fixture
    def unreachable_backend(self) -> AmqpResultBackend:
        return Myself(read(f"amqp://127.0.0.1:{free_port()}//", {}), ReplyOptions())

    # What differs: results are messages to one process, so there is nobody to remember groups.

    def test_groups_are_remembered_and_forgotten(self, backend: ResultBackend) -> None:
        for call in (
            lambda: backend.store_group("g", b"[]", None),
            lambda: backend.fetch_group("g"),
            lambda: backend.forget_group("g"),
        ):
            with pytest.raises(ImproperlyConfigured, match="rpc:// cannot remember groups"):
                call()

    def test_groups_expire(self) -> None:
        pytest.skip("rpc:// cannot remember groups")

    def test_a_result_without_an_address_is_dropped(self, rabbitmq: VirtualHost) -> None:
        backend = AmqpResultBackend(read(rabbitmq.url(), {}), ReplyOptions())
        task_id = new_id()
        backend.store([record(task_id)])
        assert backend.fetch([task_id]) == {}
        backend.close()

    def test_another_process_has_nothing(
        self, backend: ResultBackend, rabbitmq: VirtualHost
    ) -> None:
        task_id = new_id()
        backend.store([record(task_id)])
        other = AmqpResultBackend(read(rabbitmq.url(), {}), ReplyOptions())
        assert other.fetch([task_id]) == {}
        other.close()
