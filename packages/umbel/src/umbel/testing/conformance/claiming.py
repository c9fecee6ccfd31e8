"""What every broker promises about sending, resting, claiming and waiting.

Part of ``broker_suite.BrokerSuite``; see there for the fixtures.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from umbel.model.delivery import Ack, Settlement
from umbel.model.queues import Outgoing, Queue
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    message,
    needs,
    new_id,
    outgoing,
    places,
    settlement,
    take,
    task_ids,
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
        (late,) = station.send(queue, priority=9)
        middle = station.send(queue, 2, priority=3)
        (first,) = station.send(queue, priority=0)
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

    def test_urgency_counts_across_queues(
        self, station: Station, queue: Queue, other: Queue
    ) -> None:
        station.send(queue, 2, priority=9)
        urgent = station.send(other, 2, priority=0)
        consumer = station.consumer(queue, other)
        assert sorted(task_ids(take(consumer, 2))) == sorted(urgent)

    def test_no_message_goes_to_two(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 300)
        taken: list[str] = []
        held = threading.Lock()

        def drain() -> None:
            consumer = station.consumer(queue)
            while deliveries := consumer.receive(7, 0.0):
                consumer.exchange([Settlement(each.receipt, Ack()) for each in deliveries], 0)
                with held:
                    taken.extend(task_ids(deliveries))
            consumer.close()

        for thread in [InThread(drain) for _ in range(3)]:
            thread.result()
        assert sorted(taken) == sorted(ids)

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
        (late,) = station.send(queue, due_at=now() + timedelta(seconds=0.9))
        (early,) = station.send(queue, due_at=now() + timedelta(seconds=0.5))
        elapse(1.0)
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
        assert (ours.name, ours.ready, ours.claimed, ours.delayed) == (queue.name, 3, 2, 0)
        assert (theirs.name, theirs.ready, theirs.claimed, theirs.delayed) == (other.name, 0, 0, 0)

    def test_purge_drops_what_nobody_has_claimed(
        self, station: Station, queue: Queue, other: Queue, now: Callable[[], datetime]
    ) -> None:
        station.send(queue, 3)
        station.send(queue, 1, priority=9)
        (kept,) = station.send(other)
        consumer = station.consumer(queue)
        (claimed,) = take(consumer, 1)
        resting = 0
        if station.broker.capabilities.delay:
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
