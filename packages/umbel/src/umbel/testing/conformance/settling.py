"""What every broker promises about the end of a claim and what happens with it.

Part of ``broker_suite.BrokerSuite``; see there for the fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from umbel.model.delivery import Ack, Delivery, Quarantine, Receipt, Requeue, Settlement
from umbel.model.queues import Queue
from umbel.ports import Consumer, ResultBackend
from umbel.testing.conformance.station import (
    PATIENCE,
    Station,
    let_go,
    needs,
    new_id,
    outgoing,
    places,
    record,
    settlement,
    take,
    task_ids,
    urgencies,
)


class SettlingPromises:
    """Ack, requeue, quarantine, effects, fencing."""

    def test_ack_forgets_the_message(self, station: Station, queue: Queue) -> None:
        station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        assert places(station, queue) == (0, 1, 0)
        exchange = consumer.exchange([settlement(delivery, Ack())], 0)
        assert exchange.lost == ()
        assert exchange.deliveries == ()
        assert places(station, queue) == (0, 0, 0)

    def test_exchange_settles_and_claims(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 5)
        consumer = station.consumer(queue)
        first = take(consumer, 2)
        done = [settlement(each, Ack()) for each in first]
        assert task_ids(claimed(station, consumer, done, 2)) == ids[2:4]
        assert places(station, queue) == (1, 2, 0)

    def test_exchange_without_settlements_claims(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        assert consumer.exchange([], 5).deliveries == ()
        ids = station.send(queue)
        assert task_ids(claimed(station, consumer, [], 5, expected=1)) == ids

    def test_exchange_settles_many(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 500)
        consumer = station.consumer(queue)
        settlements = [
            settlement(each, Ack(), records=[record(task_ids([each])[0], document=b"x" * 100)])
            for each in take(consumer, 500)
        ]
        assert consumer.exchange(settlements, 0).lost == ()
        assert places(station, queue) == (0, 0, 0)
        assert station.backend is not None
        assert set(station.backend.fetch(ids)) == set(ids)

    def test_effects_happen_with_the_verdict(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        (task_id,) = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        stored, next_id = record(task_id, document=b'{"result": 5}'), new_id()
        consumer.exchange(
            [settlement(delivery, Ack(), records=[stored], outgoing=[outgoing(other, next_id)])], 0
        )
        assert backend.fetch([task_id])[task_id].document == stored.document
        assert task_ids(take(station.consumer(other), 1)) == [next_id]

    def test_a_follow_up_may_be_claimed_at_once(self, station: Station, queue: Queue) -> None:
        station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        next_id = new_id()
        done = [settlement(delivery, Ack(), outgoing=[outgoing(queue, next_id)])]
        assert task_ids(claimed(station, consumer, done, 1)) == [next_id]

    def test_a_delayed_follow_up_rests(
        self, station: Station, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "delay")
        station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        later = outgoing(queue, new_id(), due_at=now() + timedelta(hours=1))
        assert not consumer.exchange([settlement(delivery, Ack(), outgoing=[later])], 1).deliveries
        assert places(station, queue) == (0, 0, 1)

    def test_no_verdict_keeps_the_claim(
        self, station: Station, backend: ResultBackend, queue: Queue
    ) -> None:
        (task_id,) = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        started = settlement(delivery, None, records=[record(task_id, "STARTED")])
        assert consumer.exchange([started], 0).lost == ()
        assert backend.fetch([task_id])[task_id].state == "STARTED"
        assert places(station, queue) == (0, 1, 0)
        assert consumer.exchange([settlement(delivery, Ack())], 0).lost == ()

    def test_a_claim_ends_once(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        (task_id,) = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Ack())], 0)
        for verdict in (Ack(), Requeue(), Quarantine("again"), None):
            again = settlement(
                delivery,
                verdict,
                records=[record(task_id)],
                outgoing=[outgoing(other, new_id())],
            )
            assert consumer.exchange([again], 0).lost == (delivery.receipt,)
        assert places(station, other) == (0, 0, 0)
        assert places(station, queue) == (0, 0, 0)
        assert backend.fetch([task_id]) == {}

    def test_one_lost_claim_does_not_spoil_the_batch(self, station: Station, queue: Queue) -> None:
        station.send(queue, 3)
        consumer = station.consumer(queue)
        first, second, third = take(consumer, 3)
        consumer.exchange([settlement(second, Ack())], 0)
        exchange = consumer.exchange(
            [settlement(each, Ack()) for each in (first, second, third)], 0
        )
        assert exchange.lost == (second.receipt,)
        assert places(station, queue) == (0, 0, 0)

    def test_a_receipt_nobody_issued_is_lost(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        for text in ("", "no such receipt", "12.34", "é"):
            receipt = Receipt(text)
            assert consumer.exchange([Settlement(receipt, Ack())], 0).lost == (receipt,)

    def test_a_receipt_is_never_issued_twice(self, station: Station, queue: Queue) -> None:
        station.send(queue)
        consumer = station.consumer(queue)
        (first,) = take(consumer, 1)
        consumer.exchange([settlement(first, Requeue())], 0)
        (second,) = take(consumer, 1)
        assert second.receipt != first.receipt
        assert consumer.exchange([settlement(first, Ack())], 0).lost == (first.receipt,)
        assert places(station, queue) == (0, 1, 0)

    # --- requeue ----------------------------------------------------------------------------------

    def test_requeue_to_the_front(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 3)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Requeue(front=True))], 0)
        assert task_ids(take(consumer, 3)) == ids

    def test_requeue_to_the_back(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 3)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Requeue(front=False))], 0)
        assert task_ids(take(consumer, 3)) == [*ids[1:], ids[0]]

    def test_requeue_keeps_the_priority(self, station: Station, queue: Queue) -> None:
        needs(station, "priority")
        most, _, least = urgencies(station)
        (urgent,) = station.send(queue, priority=most)
        station.send(queue, 2, priority=least)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Requeue(front=False))], 0)
        assert task_ids(take(consumer, 1)) == [urgent]

    def test_requeue_for_later(
        self,
        station: Station,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "delay")
        ids = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        later = Requeue(due_at=now() + timedelta(seconds=1.5))
        assert not consumer.exchange([settlement(delivery, later)], 1).deliveries
        assert places(station, queue) == (0, 0, 1)
        elapse(1.6)
        assert task_ids(take(consumer, 1)) == ids

    def test_requeue_counts_only_when_told(self, station: Station, queue: Queue) -> None:
        station.send(queue)
        consumer = station.consumer(queue)
        counts = []
        for counted in (False, True, True, False):
            (delivery,) = take(consumer, 1)
            counts.append(delivery.count)
            consumer.exchange([settlement(delivery, Requeue(counted=counted))], 0)
        (delivery,) = take(consumer, 1)
        assert [*counts, delivery.count] == [1, 1, 2, 3, 3]
        assert delivery.redelivered

    def test_counts_survive_a_rest(
        self,
        station: Station,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "delay")
        station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        later = Requeue(due_at=now() + timedelta(seconds=0.4), counted=True)
        consumer.exchange([settlement(delivery, later)], 0)
        elapse(0.5)
        (delivery,) = take(consumer, 1)
        assert delivery.count == 2

    def test_a_requeued_message_may_go_to_another(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Requeue())], 0)
        let_go(consumer, station)
        assert task_ids(station.consumer(queue).receive(1, PATIENCE)) == ids

    # --- quarantine -------------------------------------------------------------------------------

    def test_what_is_set_aside_is_never_claimed(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        station.send(queue)
        consumer = station.consumer(queue, lease=0.5)
        (delivery,) = take(consumer, 1)
        aside = Quarantine("undecodable", "the body is not JSON")
        assert consumer.exchange([settlement(delivery, aside)], 0).lost == ()
        assert places(station, queue) == (0, 0, 0)
        elapse(0.6)
        assert not station.consumer(queue).receive(1, 0.0)
        assert station.broker.purge(queue.name) == 0


def claimed(
    station: Station,
    consumer: Consumer,
    settlements: Sequence[Settlement],
    limit: int,
    *,
    expected: int | None = None,
) -> list[Delivery]:
    """Settle and claim in one exchange, with nothing lost; return the ``expected`` deliveries.

    What a broker sends by itself may come after the exchange.
    """
    exchange = consumer.exchange(settlements, limit)
    assert exchange.lost == ()
    deliveries = list(exchange.deliveries)
    if station.broker.capabilities.pushes:
        deliveries += take(consumer, (limit if expected is None else expected) - len(deliveries))
    return deliveries
