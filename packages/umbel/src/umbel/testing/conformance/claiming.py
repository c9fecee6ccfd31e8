"""What every broker promises about sending, resting, claiming and waiting.

Part of ``broker_suite.BrokerSuite``; see there for the fixtures.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from umbel.model.delivery import Ack, Delivery, Settlement
from umbel.model.queues import Outgoing, Queue
from umbel.ports import Consumer
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    drained,
    message,
    needs,
    new_id,
    outgoing,
    places,
    presence,
    settlement,
    take,
    task_ids,
    urgencies,
)
from umbel.wire import envelope


class ClaimingPromises:
    """Publish, receive, order, waiting, delay, stats, purge."""

    def test_a_message_arrives_whole(self, station: Station, queue: Queue) -> None:
        sent = message(new_id(), body=bytes(range(256)))
        station.publish(Outgoing(message=sent, queue=queue))
        (delivery,) = take(station.consumer(queue), 1)
        arrived = envelope.load(delivery.raw)
        assert arrived.body == sent.body
        assert arrived.content_type == sent.content_type
        assert arrived.content_encoding == sent.content_encoding
        assert dict(arrived.headers) == dict(sent.headers)
        assert arrived.properties["correlation_id"] == sent.properties["correlation_id"]
        assert delivery.queue == queue.name
        assert delivery.count == 1
        assert not delivery.redelivered

    def test_publish_takes_any_number(self, station: Station, queue: Queue) -> None:
        station.publish()
        ids = station.send(queue, 1000)
        assert task_ids(take(station.consumer(queue), 1000)) == ids

    def test_first_in_first_out(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 3) + station.send(queue, 2)
        consumer = station.consumer(queue)
        assert task_ids(take(consumer, 2)) + task_ids(take(consumer, 3)) == ids

    def test_more_urgent_first(self, station: Station, queue: Queue) -> None:
        needs(station, "priority")
        most, medium, least = urgencies(station)
        (late,) = station.send(queue, priority=least)
        middle = station.send(queue, 2, priority=medium)
        (first,) = station.send(queue, priority=most)
        assert task_ids(take(station.consumer(queue), 4)) == [first, *middle, late]

    def test_no_more_than_the_limit(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 5)
        consumer = station.consumer(queue)
        assert task_ids(consumer.receive(2, PATIENCE)) == ids[:2]
        assert not consumer.receive(0, 0.0)
        assert task_ids(consumer.receive(10, PATIENCE)) == ids[2:]

    def test_an_empty_queue_ends_the_wait_at_the_timeout(
        self, station: Station, queue: Queue
    ) -> None:
        consumer = station.consumer(queue)
        assert not consumer.receive(1, 0.0)
        began = time.monotonic()
        assert not consumer.receive(1, 0.1)
        assert time.monotonic() - began >= 0.09

    def test_only_the_queues_asked_for(self, station: Station, queue: Queue, other: Queue) -> None:
        station.send(other)
        assert not station.consumer(queue).receive(1, 0.0)

    def test_queues_take_turns(self, station: Station, queue: Queue, other: Queue) -> None:
        station.send(queue, 20)
        station.send(other, 20)
        consumer = station.consumer(queue, other)
        names = [take(consumer, 1)[0].queue for _ in range(6)]
        assert set(names) == {queue.name, other.name}

    def test_a_queue_given_first_starves_no_other(
        self, station: Station, queue: Queue, other: Queue
    ) -> None:
        """Whatever is called between two claims: queues take turns at claims, not at calls."""
        if station.broker.capabilities.pushes:
            pytest.skip("what comes by itself comes queue by queue")
        station.send(queue, 40)
        station.send(other, 40)
        between: list[Callable[[Consumer, Delivery], object]] = [
            lambda _consumer, _one: None,
            lambda consumer, one: consumer.exchange([Settlement(one.receipt, Ack())], 0),
            lambda consumer, _one: consumer.receive(0, 0.0),
            lambda consumer, one: consumer.extend([one.receipt], presence()),
        ]
        for call in between:
            consumer = station.consumer(queue, other)
            names = []
            for _ in range(4):
                (one,) = consumer.exchange([], 1).deliveries
                names.append(one.queue)
                call(consumer, one)
            assert sorted(names) == sorted([queue.name, other.name] * 2)
            consumer.close()

    def test_urgency_first_then_arrival(self, station: Station, queue: Queue) -> None:
        """Through claims of every size. What one claim brings of one urgency is in order too."""
        needs(station, "priority")
        dice = random.Random(7)  # noqa: S311 - the dice of a test
        sent = [(dice.choice([0, 3, 6, 9]), new_id()) for _ in range(120)]
        station.publish(*(outgoing(queue, each, priority=urgency) for urgency, each in sent))
        consumer = station.consumer(queue)
        found: list[str] = []
        while deliveries := claimed_next(station, consumer, dice.randint(1, 9)):
            found += task_ids(deliveries)
        sign = -1 if station.broker.capabilities.highest_first else 1
        assert found == [each for _, each in sorted(sent, key=lambda one: sign * one[0])]

    def test_a_priority_comes_back_as_it_was_sent(self, station: Station, queue: Queue) -> None:
        """Also one that the store counts as another."""
        needs(station, "priority")
        sent = {
            task_id: number
            for number in range(10)
            for task_id in station.send(queue, 1, priority=number)
        }
        found = {}
        for each in take(station.consumer(queue), 10):
            message = envelope.load(each.raw)
            found[message.headers["id"]] = message.properties["priority"]
        assert found == sent

    def test_urgency_counts_across_queues(
        self, station: Station, queue: Queue, other: Queue
    ) -> None:
        needs(station, "priority")
        if station.broker.capabilities.pushes:
            pytest.skip("what comes by itself comes queue by queue")
        most, _, least = urgencies(station)
        station.send(queue, 2, priority=least)
        urgent = station.send(other, 2, priority=most)
        consumer = station.consumer(queue, other)
        assert sorted(task_ids(take(consumer, 2))) == sorted(urgent)

    def test_no_message_goes_to_two(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 300)
        taken: list[str] = []
        held = threading.Lock()

        def drain() -> None:
            consumer = station.consumer(queue)
            while deliveries := drained(station, consumer, 7):
                consumer.exchange([Settlement(each.receipt, Ack()) for each in deliveries], 0)
                with held:
                    taken.extend(task_ids(deliveries))
            consumer.close()

        for thread in [InThread(drain) for _ in range(3)]:
            thread.result()
        assert sorted(taken) == sorted(ids)

    def test_a_consumer_that_connects_anew_keeps_its_claims(
        self, station: Station, queue: Queue
    ) -> None:
        consumer = station.consumer(queue)
        consumer.reconnect()
        ids = station.send(queue, 3)
        (first,) = take(consumer, 1)
        consumer.reconnect()
        exchange = consumer.exchange([Settlement(first.receipt, Ack())], 0)
        assert exchange.lost == ()
        consumer.reconnect()
        assert task_ids(take(consumer, 2)) == ids[1:]
        assert places(station, queue) == (0, 2, 0)

    # --- waiting ----------------------------------------------------------------------------------

    def test_a_waiting_receive_hears_of_a_message(self, station: Station, queue: Queue) -> None:
        opened = threading.Event()

        def wait() -> list[str]:
            consumer = station.consumer(queue)
            opened.set()
            return task_ids(take(consumer, 1))

        waiting = InThread(wait)
        assert opened.wait(PATIENCE)
        ids = station.send(queue)
        assert waiting.result() == ids

    def test_wake_ends_a_wait(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        timer = threading.Timer(0.05, consumer.wake)
        timer.start()
        began = time.monotonic()
        assert not consumer.receive(1, PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2
        timer.join()

    def test_wake_before_the_wait_is_remembered(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        consumer.wake()
        began = time.monotonic()
        assert not consumer.receive(0, PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2

    def test_a_signal_handler_may_wake(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        before = signal.signal(signal.SIGUSR1, lambda *_: consumer.wake())
        try:
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            began = time.monotonic()
            assert not consumer.receive(1, PATIENCE)
            assert time.monotonic() - began < PATIENCE / 2
            timer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_wake_after_close_does_nothing(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        consumer.close()
        consumer.wake()

    def test_a_waiting_receive_hears_of_a_follow_up(
        self, station: Station, queue: Queue, other: Queue
    ) -> None:
        station.send(queue)
        worker = station.consumer(queue)
        (delivery,) = take(worker, 1)
        waiting = InThread(lambda: task_ids(take(station.consumer(other), 1)))
        follow_up = new_id()
        worker.exchange([settlement(delivery, Ack(), outgoing=[outgoing(other, follow_up)])], 0)
        assert waiting.result() == [follow_up]

    # --- resting until later ----------------------------------------------------------------------

    def test_a_delayed_message_rests_until_it_is_due(
        self,
        station: Station,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "delay")
        (task_id,) = station.send(queue, due_at=now() + timedelta(seconds=1.5))
        consumer = station.consumer(queue)
        assert not consumer.receive(1, 0.0)
        assert places(station, queue) == (0, 0, 1)
        elapse(1.6)
        assert task_ids(take(consumer, 1)) == [task_id]
        assert places(station, queue) == (0, 1, 0)

    def test_what_is_due_already_does_not_rest(
        self, station: Station, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "delay")
        ids = station.send(queue, due_at=now() - timedelta(seconds=5))
        assert task_ids(station.consumer(queue).receive(1, PATIENCE)) == ids

    def test_delayed_messages_come_in_the_order_they_are_due(
        self,
        station: Station,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "delay")
        step = station.broker.capabilities.delay_step
        (late,) = station.send(queue, due_at=now() + timedelta(seconds=0.9 + step))
        (early,) = station.send(queue, due_at=now() + timedelta(seconds=0.5))
        elapse(1.0 + step)
        assert task_ids(take(station.consumer(queue), 2)) == [early, late]

    def test_a_waiting_receive_notices_what_becomes_due(
        self,
        station: Station,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "delay")
        ids = station.send(queue, due_at=now() + timedelta(seconds=0.4))
        waiting = InThread(lambda: task_ids(take(station.consumer(queue), 1)))
        elapse(0.5)
        assert waiting.result() == ids

    # --- looking and clearing ---------------------------------------------------------------------

    def test_stats_count_each_place(self, station: Station, queue: Queue, other: Queue) -> None:
        station.send(queue, 5)
        take(station.consumer(queue), 2)
        ours, theirs = station.broker.stats([queue.name, other.name])
        assert (ours.name, theirs.name) == (queue.name, other.name)
        assert places(station, queue) == (3, 2, 0)
        assert places(station, other) == (0, 0, 0)

    def test_purge_drops_what_nobody_has_claimed(
        self, station: Station, queue: Queue, other: Queue, now: Callable[[], datetime]
    ) -> None:
        station.send(queue, 3)
        station.send(queue, 1, priority=9)
        (kept,) = station.send(other)
        consumer = station.consumer(queue)
        (claimed,) = take(consumer, 1)
        resting = 0
        if station.broker.capabilities.delay and station.broker.capabilities.counts_all:
            resting = len(station.send(queue, 2, due_at=now() + timedelta(hours=1)))
        assert station.broker.purge(queue.name) == 3 + resting
        assert places(station, queue) == (0, 1, 0)
        assert consumer.exchange([Settlement(claimed.receipt, Ack())], 5).lost == ()
        assert station.broker.purge(queue.name) == 0
        assert task_ids(take(station.consumer(other), 1)) == [kept]

    def test_declaring_twice_is_declaring_once(self, station: Station, queue: Queue) -> None:
        station.broker.declare([queue])
        ids = station.send(queue)
        station.broker.declare([queue])
        assert task_ids(take(station.consumer(queue), 1)) == ids

    def test_ping_names_the_product(self, station: Station) -> None:
        assert " " in station.broker.ping()

    def test_a_closed_broker_may_be_used_again(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue)
        station.broker.close()
        station.broker.close()
        assert task_ids(take(station.consumer(queue), 1)) == ids


def claimed_next(station: Station, consumer: Consumer, limit: int) -> Sequence[Delivery]:
    """Claim up to ``limit`` messages by an exchange, or nothing when the queue is empty."""
    return consumer.exchange([], limit).deliveries or drained(station, consumer, limit)
