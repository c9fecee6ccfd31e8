"""What a broker promises about limits that all workers share (``ports.Gate``).

Part of ``broker_suite.BrokerSuite``; see there for the fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from umbel.errors import NotSupported
from umbel.model.delivery import Ack, Delivery, Receipt
from umbel.model.queues import Queue
from umbel.model.shared_limits import Token, Wish
from umbel.testing.conformance.leasing import HALF, LEASE
from umbel.testing.conformance.station import (
    Station,
    needs,
    new_id,
    places,
    settlement,
    take,
    task_id_of,
    task_ids,
)


def wish(
    delivery: Delivery,
    hold: str | None = None,
    most: int = 1,
    pace: str | None = None,
    interval: float = 0.0,
) -> Wish:
    """Return what this claim asks for."""
    return Wish(
        receipt=delivery.receipt,
        task_id=task_id_of(delivery),
        queue=delivery.queue,
        hold=hold,
        most=most,
        pace=pace,
        interval=interval,
    )


def wishes(deliveries: Sequence[Delivery], hold: str, most: int = 1) -> list[Wish]:
    """Return the same for several."""
    return [wish(each, hold, most) for each in deliveries]


def token(delivery: Delivery, hold: str, most: int = 1) -> Token:
    """Return what this claim holds when it was admitted."""
    return Token(hold, task_id_of(delivery), most)


class LimitingPromises:
    """Concurrency and rate, kept in the store, for whoever claims."""

    def test_no_more_are_admitted_than_the_limit_and_the_rest_waits_in_the_store(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "limits")
        station.send(queue, 5)
        consumer, hold = station.consumer(queue), new_id()
        claims = take(consumer, 5)
        assert consumer.gate().admit(wishes(claims, hold, 2)) == [0.0, 0.0, None, None, None]
        assert places(station, queue) == (0, 2, 0)
        (stats,) = station.broker.stats([queue.name])
        assert stats.blocked == 3
        (held,) = [each for each in station.broker.limits_held() if each.name == hold]
        assert (held.most, held.waiting) == (2, 3)
        assert set(held.running) == {task_id_of(each) for each in claims[:2]}
        # What waits is no claim any more: nothing can be done to it, and nobody else finds it.
        lost = consumer.exchange([settlement(claims[4], Ack())], 5).lost
        assert lost == (claims[4].receipt,)
        assert not station.consumer(queue).receive(5, 0.0)

    def test_what_is_released_lets_the_next_go_in_the_order_of_the_claims(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "limits")
        ids = station.send(queue, 4)
        consumer, other, hold = station.consumer(queue), station.consumer(queue), new_id()
        claims = take(consumer, 4)
        gate = consumer.gate()
        assert gate.admit(wishes(claims, hold)) == [0.0, None, None, None]
        for number in range(1, 4):
            station.send(queue)  # behind: what waited goes to the front
            consumer.exchange([settlement(claims[number - 1], Ack())], 0)
            gate.release([token(claims[number - 1], hold)])
            (claimed,) = take(other if number % 2 else consumer, 1)
            assert task_id_of(claimed) == ids[number]
            assert (claimed.count, claimed.redelivered) == (1, False)
            gate = (other if number % 2 else consumer).gate()
            consumer, other = (other, consumer) if number % 2 else (consumer, other)
            claims[number] = claimed
            assert gate.admit(wishes([claimed], hold)) == [0.0]

    def test_nobody_overtakes_who_waits(self, station: Station, queue: Queue) -> None:
        needs(station, "limits")
        station.send(queue, 3)
        consumer, hold = station.consumer(queue), new_id()
        first, second, third = take(consumer, 3)
        gate = consumer.gate()
        assert gate.admit(wishes([first, second], hold)) == [0.0, None]
        gate.release([token(first, hold)])
        # The place is kept for the second, which nobody has claimed yet.
        assert gate.admit(wishes([third], hold)) == [None]
        (again,) = take(consumer, 1)
        assert task_id_of(again) == task_id_of(second)
        assert gate.admit(wishes([again], hold)) == [0.0]

    def test_keys_do_not_mind_each_other(self, station: Station, queue: Queue) -> None:
        needs(station, "limits")
        station.send(queue, 4)
        consumer, hold = station.consumer(queue), new_id()
        claims = take(consumer, 4)
        asked = [wish(each, f"{hold}:{n % 2}") for n, each in enumerate(claims)]
        assert consumer.gate().admit(asked) == [0.0, 0.0, None, None]

    def test_the_places_of_a_dead_owner_are_free_again(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "limits")
        needs(station, "lease")
        ids = station.send(queue, 2)
        hold = new_id()
        dying = station.consumer(queue, lease=LEASE)
        claims = take(dying, 2)
        assert dying.gate().admit(wishes(claims, hold)) == [0.0, None]
        elapse(2 * HALF)
        other = station.consumer(queue)
        rescued = take(other, 1)
        assert task_ids(rescued) == ids[:1]
        other.gate().sweep([])
        assert task_ids(take(other, 1)) == ids[1:]
        # The second was promised the place; the first, which was cut off, waits for it.
        assert other.gate().admit(wishes(rescued, hold)) == [None]

    def test_the_same_task_claimed_again_holds_the_same_place(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "limits")
        station.send(queue)
        consumer, hold = station.consumer(queue), new_id()
        (claim,) = take(consumer, 1)
        gate = consumer.gate()
        assert gate.admit(wishes([claim], hold)) == [0.0]
        assert gate.admit(wishes([claim], hold)) == [0.0]
        gate.release([token(claim, hold)])
        assert hold not in [each.name for each in station.broker.limits_held()]

    def test_a_claim_that_is_not_ours_is_not_admitted(self, station: Station, queue: Queue) -> None:
        needs(station, "limits")
        station.send(queue)
        consumer, hold = station.consumer(queue), new_id()
        (claim,) = take(consumer, 1)
        consumer.exchange([settlement(claim, Ack())], 0)
        strange = Wish(receipt=Receipt("nothing"), task_id="x", queue=queue.name, hold=hold, most=1)
        assert consumer.gate().admit([*wishes([claim], hold), strange]) == [None, None]
        (stats,) = station.broker.stats([queue.name])
        assert stats.blocked == 0

    def test_what_another_holds_is_not_released(self, station: Station, queue: Queue) -> None:
        needs(station, "limits")
        station.send(queue, 2)
        one, other, hold = station.consumer(queue), station.consumer(queue), new_id()
        claims = take(one, 2)
        assert one.gate().admit(wishes(claims, hold)) == [0.0, None]
        other.gate().release([token(claims[0], hold)])
        assert not other.receive(1, 0.0)

    def test_turns_are_given_one_interval_apart(self, station: Station, queue: Queue) -> None:
        needs(station, "limits")
        station.send(queue, 4)
        one, pace = station.consumer(queue), new_id()
        asked = [wish(each, pace=pace, interval=20.0) for each in take(one, 4)]
        answers = one.gate().admit(asked[:2])
        assert answers[0] == 0.0
        assert answers[1] == pytest.approx(20.0, abs=2.0)
        # For whoever asks, and beside other claims that are kept until their turn.
        answers = one.gate().admit(asked[2:])
        assert list(answers) == [pytest.approx(40.0, abs=2.0), pytest.approx(60.0, abs=2.0)]
        assert places(station, queue) == (0, 4, 0)

    def test_what_must_wait_for_its_turn_holds_no_place(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "limits")
        station.send(queue, 3)
        consumer, hold, pace = station.consumer(queue), new_id(), new_id()
        claims = take(consumer, 3)
        gate = consumer.gate()
        assert gate.admit([wish(claims[0], pace=pace, interval=20.0)]) == [0.0]
        (turn,) = gate.admit([wish(claims[1], hold, 1, pace, 20.0)])
        assert turn == pytest.approx(20.0, abs=2.0)
        assert gate.admit(wishes([claims[2]], hold)) == [0.0]

    def test_purging_drops_what_waits(self, station: Station, queue: Queue, other: Queue) -> None:
        needs(station, "limits")
        station.send(queue, 2)
        station.send(other, 1)
        consumer, hold = station.consumer(queue, other), new_id()
        claims = take(consumer, 3)
        mine = [each for each in claims if each.queue == queue.name]
        theirs = [each for each in claims if each.queue == other.name]
        assert consumer.gate().admit(wishes([*mine, *theirs], hold)) == [0.0, None, None]
        assert station.broker.purge(queue.name) == 1
        consumer.gate().release([token(mine[0], hold)])
        assert task_ids(take(consumer, 1)) == task_ids(theirs)
        assert [each.blocked for each in station.broker.stats([queue.name, other.name])] == [0, 0]

    def test_where_nothing_is_counted_it_is_refused(self, station: Station, queue: Queue) -> None:
        if station.broker.capabilities.limits:
            pytest.skip("this broker keeps limits")
        with pytest.raises(NotSupported, match="need a broker that counts"):
            station.consumer(queue).gate()
