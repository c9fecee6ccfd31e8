"""The quarantine on RabbitMQ: several who look, one who dies, what comes back as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.rabbitmq_broker import VirtualHost
from umbel.drivers.amqp import AmqpDriver, shelves
from umbel.drivers.amqp.broker import AmqpBroker
from umbel.errors import BrokerUnavailable, NotSupported, Unroutable
from umbel.model.delivery import Ack, Quarantine
from umbel.model.message import EncodedMessage
from umbel.model.queues import Queue
from umbel.model.shelves import EVERYTHING, Aside, Selection, Shelf, Shelved, Withdrawal
from umbel.testing.conformance.shelving import everything
from umbel.testing.conformance.station import (
    InThread,
    Station,
    let_go,
    message,
    new_id,
    outgoing,
    settlement,
    station_of,
    take,
    task_ids,
)
from umbel.wire import envelope

pytestmark = pytest.mark.rabbitmq

POISON = Quarantine("poison", "it kills", "WorkerLostError")


@pytest.fixture
def broker(rabbitmq: VirtualHost) -> Iterator[AmqpBroker]:
    broker = AmqpDriver(rabbitmq.url(), {"priority_scale": "umbel"}).broker()
    yield broker
    broker.close()


@pytest.fixture
def station(broker: AmqpBroker) -> Iterator[Station]:
    with station_of(broker, None) as station:
        yield station


@pytest.fixture
def queue(broker: AmqpBroker) -> Queue:
    queue = Queue(f"suite-{new_id()[:12]}", max_priority=3)
    broker.declare([queue])
    return queue


def set_some_aside(station: Station, queue: Queue, count: int) -> list[Shelved]:
    raws = [envelope.dump_compact(message(new_id())) for _ in range(count)]
    station.broker.shelves().set_aside(
        [Aside(queue=queue.name, raw=raw, verdict=POISON, worker="w@h") for raw in raws]
    )
    return everything(station.broker.shelves(), Shelf.QUARANTINE, queue)


def test_two_who_look_at_the_same_time_see_everything_one_after_the_other(
    station: Station, queue: Queue, broker: AmqpBroker
) -> None:
    entries = set_some_aside(station, queue, 40)
    looks = [
        InThread(lambda: everything(broker.shelves(), Shelf.QUARANTINE, queue)) for _ in range(4)
    ]
    assert [look.result() for look in looks] == [entries] * 4


def test_whoever_waits_too_long_is_told_who_is_in_the_way(
    station: Station, queue: Queue, broker: AmqpBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = set_some_aside(station, queue, 2)
    monkeypatch.setattr(shelves, "LOCK_PATIENCE", 0.1)
    looking = shelves._Reading(broker._address, queue.name)
    looking.open(1.0)
    assert len(list(looking.entries())) == 2
    with pytest.raises(BrokerUnavailable, match="Another program looks at the quarantine of queue"):
        broker.shelves().page(Shelf.QUARANTINE, queue.name, EVERYTHING, after=None, limit=10)
    (stats,) = broker.stats([queue.name])
    assert stats.quarantined_since is None  # nobody waits for a number
    # It dies: the broker gives everything back, and the lock.
    looking._connection.drop()
    monkeypatch.undo()
    deadline = time.monotonic() + 20
    while everything(broker.shelves(), Shelf.QUARANTINE, queue) != entries:
        assert time.monotonic() < deadline


def test_who_dies_before_the_end_has_taken_nothing_and_sent_nothing(
    station: Station, queue: Queue, broker: AmqpBroker
) -> None:
    entries = set_some_aside(station, queue, 3)
    dying = shelves._Reading(broker._address, queue.name)
    dying.open(1.0)
    held = list(dying.entries())
    dying._commit = dying.close  # type: ignore[method-assign]  # the moment of its death
    back = Withdrawal(id=held[0][1].id, raw=held[0][1].raw)
    dying.let_go([(held[0][0], back)])
    deadline = time.monotonic() + 20
    while everything(broker.shelves(), Shelf.QUARANTINE, queue) != entries:
        assert time.monotonic() < deadline
    assert broker.stats([queue.name])[0].ready == 0


def test_a_queue_that_is_gone_takes_nothing_back(
    station: Station, queue: Queue, broker: AmqpBroker
) -> None:
    entries = set_some_aside(station, Queue(f"gone-{queue.name}"), 1)
    gone = entries[0].queue
    back = Withdrawal(id=entries[0].id, raw=entries[0].raw)
    with pytest.raises(Unroutable, match=f"There is no queue '{gone}'"):
        broker.shelves().withdraw(Shelf.QUARANTINE, gone, [back])
    assert everything(broker.shelves(), Shelf.QUARANTINE, Queue(gone)) == entries


@pytest.mark.parametrize("priority", [0, 4, 9])
def test_a_priority_comes_back_as_it_was(
    station: Station, queue: Queue, broker: AmqpBroker, priority: int
) -> None:
    station.send(queue, priority=priority)
    consumer = station.consumer(queue)
    (first,) = take(consumer, 1)
    consumer.exchange([settlement(first, POISON)], 0)
    (entry,) = everything(broker.shelves(), Shelf.QUARANTINE, queue)
    let_go(consumer, station)
    back = Withdrawal(id=entry.id, raw=entry.raw)
    broker.shelves().withdraw(Shelf.QUARANTINE, queue.name, [back])
    (again,) = take(consumer, 1)
    assert _priority(again.raw) == _priority(first.raw)
    assert envelope.load(again.raw).headers == envelope.load(first.raw).headers
    assert envelope.load(again.raw).body == envelope.load(first.raw).body


def _priority(raw: bytes) -> object:
    return envelope.load(raw).properties["priority"]


def test_pages_are_in_the_order_of_time_and_miss_nothing_while_others_leave(
    station: Station, queue: Queue, broker: AmqpBroker
) -> None:
    entries = set_some_aside(station, queue, 25)
    assert [each.at for each in entries] == sorted(each.at for each in entries)
    told: list[Shelved] = []
    after: str | None = None
    while True:
        page = broker.shelves().page(Shelf.QUARANTINE, queue.name, EVERYTHING, after=after, limit=7)
        told += page.entries
        gone = [Withdrawal(id=each.id) for each in page.entries]
        assert len(broker.shelves().withdraw(Shelf.QUARANTINE, queue.name, gone)) == len(gone)
        after = page.after
        if after is None:
            break
    assert told == entries


def test_only_what_is_wanted_is_told(station: Station, queue: Queue, broker: AmqpBroker) -> None:
    entries = set_some_aside(station, queue, 3)
    task_id = str(envelope.load(entries[1].raw).headers["id"])

    def told(selection: Selection) -> list[Shelved]:
        return everything(broker.shelves(), Shelf.QUARANTINE, queue, selection=selection)

    assert told(Selection(containing=(task_id.encode(),))) == [entries[1]]
    assert told(Selection(since=entries[1].at)) == entries[1:]
    assert told(Selection(until=entries[1].at)) == entries[:1]
    assert told(Selection(until=datetime.now(UTC) - timedelta(hours=1))) == []


def test_what_another_program_put_there_has_a_key_and_no_reason(
    station: Station, queue: Queue, broker: AmqpBroker
) -> None:
    sent = message(new_id())
    by_hand = EncodedMessage(
        headers=sent.headers,
        properties=sent.properties,
        body=sent.body,
        content_type=sent.content_type,
        content_encoding=sent.content_encoding,
    )
    set_some_aside(station, queue, 1)
    place = Queue(f"umbel.quarantine.{queue.name}", arguments={"x-queue-type": "classic"})
    station.publish(msgspec.structs.replace(outgoing(place, new_id()), message=by_hand))
    first, second = everything(broker.shelves(), Shelf.QUARANTINE, queue)
    assert (first.reason, first.worker, first.count) == ("", None, 0)
    assert second.reason == "poison"
    assert broker.shelves().fetch(Shelf.QUARANTINE, queue.name, [first.id]) == [first]
    back = Withdrawal(id=first.id, raw=first.raw)
    assert broker.shelves().withdraw(Shelf.QUARANTINE, queue.name, [back]) == [first.id]
    (delivery,) = take(station.consumer(queue), 1)
    assert task_ids([delivery]) == [sent.headers["id"]]


def test_what_goes_back_may_rest_before(station: Station, queue: Queue, broker: AmqpBroker) -> None:
    (entry,) = set_some_aside(station, queue, 1)
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    back = Withdrawal(id=entry.id, raw=entry.raw, due_at=due)
    assert broker.shelves().withdraw(Shelf.QUARANTINE, queue.name, [back]) == [entry.id]
    consumer = station.consumer(queue)
    (delivery,) = take(consumer, 1)
    assert datetime.now(UTC) >= due
    consumer.exchange([settlement(delivery, Ack())], 0)


def test_what_rests_cannot_be_shown_and_the_sentence_says_what_to_do(broker: AmqpBroker) -> None:
    for call in (
        lambda: broker.shelves().fetch(Shelf.DELAYED, "celery", ["x"]),
        lambda: broker.shelves().withdraw(Shelf.DELAYED, "celery", [Withdrawal(id="x")]),
    ):
        with pytest.raises(NotSupported, match="revoke a task by its id"):
            call()
