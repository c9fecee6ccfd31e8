"""What a broker promises about paused queues. Part of ``broker_suite.BrokerSuite``."""

from __future__ import annotations

import pytest

from umbel.errors import NotSupported
from umbel.model.delivery import Ack
from umbel.model.queues import Queue
from umbel.testing.conformance.station import (
    InThread,
    Station,
    needs,
    places,
    settlement,
    take,
    task_ids,
)


class PausingPromises:
    """A queue that is paused is left alone; what runs, and other queues, go on."""

    def test_nobody_claims_from_a_paused_queue(
        self, station: Station, queue: Queue, other: Queue
    ) -> None:
        needs(station, "pauses")
        station.send(queue, 2)
        ids = station.send(other, 1)
        consumer = station.consumer(queue, other)
        station.broker.pause([queue.name], by="ann")
        assert task_ids(take(consumer, 1)) == ids
        assert not consumer.receive(3, 0.0)
        assert not station.consumer(queue).receive(3, 0.0)
        assert places(station, queue) == (2, 0, 0)
        (stats,) = station.broker.stats([queue.name])
        assert stats.paused_by == "ann"
        assert stats.paused_since is not None
        station.broker.resume([queue.name])
        (stats,) = station.broker.stats([queue.name])
        assert (stats.paused_since, stats.paused_by) == (None, "")
        assert len(take(consumer, 2)) == 2

    def test_what_runs_goes_on_while_its_queue_is_paused(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "pauses")
        station.send(queue, 2)
        consumer = station.consumer(queue)
        (claim,) = take(consumer, 1)
        station.broker.pause([queue.name], by="ann")
        station.broker.pause([queue.name], by="bob")  # it stays as it is
        (stats,) = station.broker.stats([queue.name])
        assert stats.paused_by == "ann"
        exchange = consumer.exchange([settlement(claim, Ack())], 1)
        assert (exchange.lost, exchange.deliveries) == ((), ())
        assert places(station, queue) == (1, 0, 0)

    def test_who_waits_is_woken_when_a_queue_is_resumed(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "pauses")
        ids = station.send(queue, 1)
        station.broker.pause([queue.name], by="")
        waiting = InThread(lambda: station.consumer(queue).receive(1, 60.0))
        station.broker.resume([queue.name])
        station.broker.resume([queue.name])
        assert task_ids(waiting.result()) == ids

    def test_what_comes_to_a_paused_queue_wakes_nobody_and_waits(
        self, station: Station, queue: Queue
    ) -> None:
        needs(station, "pauses")
        station.broker.pause([queue.name], by="ann")
        consumer = station.consumer(queue)
        ids = station.send(queue, 1)
        assert not consumer.receive(1, 0.2)
        station.broker.resume([queue.name])
        assert task_ids(take(consumer, 1)) == ids

    def test_where_the_store_cannot_it_is_refused(self, station: Station, queue: Queue) -> None:
        if station.broker.capabilities.pauses:
            pytest.skip("this broker pauses queues")
        with pytest.raises(NotSupported, match="cancel_consumer"):
            station.broker.pause([queue.name], by="ann")
        with pytest.raises(NotSupported, match="nothing to resume"):
            station.broker.resume([queue.name])
