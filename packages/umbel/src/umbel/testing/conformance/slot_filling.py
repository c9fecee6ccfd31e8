"""What is promised of joins: the header of a chord, counted in the store.

``JoiningPromises`` is part of ``broker_suite.BrokerSuite`` (steps that travel with settlements),
``CountingPromises`` of ``result_backend_suite.ResultBackendSuite`` (steps on their own). Both are
skipped for results that cannot count.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest

from umbel.model.delivery import Ack
from umbel.model.join import CloseJoin, FillSlot, GrowJoin, JoinParts, JoinStep, OpenJoin
from umbel.model.queues import FollowUp, Queue
from umbel.ports import Consumer, ResultBackend
from umbel.testing.conformance.station import (
    Station,
    follow_up,
    message,
    new_id,
    places,
    record,
    settlement,
    slot,
    take,
    task_ids,
)
from umbel.wire import envelope


def counting(backend: ResultBackend) -> None:
    """Skip the test where the results cannot count."""
    if not backend.counts_joins:
        pytest.skip("these results cannot count the header of a chord")


def numbers(found: JoinParts | None) -> list[int]:
    """Return the value at the end of each part, in the store's order."""
    assert found is not None
    return [int(part.rsplit(b" ", 1)[1].rstrip(b"]")) for part in found.parts]


class CountingPromises:
    """Steps that are performed on their own."""

    def test_the_last_slot_brings_what_follows(self, backend: ResultBackend) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        assert not backend.join([OpenJoin(join_id, 3)])
        for number in (2, 0):
            assert not backend.join([slot(join_id, number, then)])
        found = backend.fetch_join(join_id)
        assert found is not None
        assert (found.size, found.complete) == (3, False)
        assert described(backend.join([slot(join_id, 1, then)])) == described([then])
        found = backend.fetch_join(join_id)
        assert found is not None
        assert (found.size, found.complete, found.closed) == (3, True, False)
        assert numbers(found) == [0, 1, 2]

    def test_any_order_of_filling_is_one_order_of_parts(self, backend: ResultBackend) -> None:
        counting(backend)
        for order in itertools.permutations(range(3)):
            join_id, then = new_id(), follow_up(Queue("q"), new_id())
            backend.join([OpenJoin(join_id, 3)])
            told = [backend.join([slot(join_id, number, then)]) for number in order]
            assert [len(due) for due in told] == [0, 0, 1]
            assert numbers(backend.fetch_join(join_id)) == [0, 1, 2]

    def test_a_slot_stays_as_it_is_first_filled(self, backend: ResultBackend) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        backend.join([OpenJoin(join_id, 2), slot(join_id, 0, then)])
        again = slot(join_id, 0, then, part=b'[1, "member-0", "FAILURE", 77]')
        assert not backend.join([again])
        backend.join([slot(join_id, 1, then)])
        assert numbers(backend.fetch_join(join_id)) == [0, 1]

    def test_what_follows_is_told_again_until_the_join_is_closed(
        self, backend: ResultBackend
    ) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        backend.join([OpenJoin(join_id, 1)])
        for _ in range(2):
            assert described(backend.join([slot(join_id, 0, then)])) == described([then])
        backend.join([CloseJoin(join_id)])
        assert not backend.join([slot(join_id, 0, then)])
        assert not backend.join([slot(join_id, 1, then)])
        found = backend.fetch_join(join_id)
        assert found is not None
        assert (found.closed, found.complete) == (True, False)

    def test_a_join_may_grow(self, backend: ResultBackend) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        backend.join([OpenJoin(join_id, 1)])
        assert not backend.join([GrowJoin(join_id, 2), slot(join_id, 0, then)])
        assert not backend.join([slot(join_id, None, then, task_id="added-1")])
        assert backend.join([slot(join_id, None, then, task_id="added-2")])
        found = backend.fetch_join(join_id)
        assert found is not None
        assert (found.size, len(found.parts)) == (3, 3)

    def test_parts_without_a_slot_come_last(self, backend: ResultBackend) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        late = b'[1, "late", "SUCCESS", 9]'
        backend.join([OpenJoin(join_id, 3)])
        backend.join([slot(join_id, None, then, task_id="late", part=late)])
        backend.join([slot(join_id, 1, then), slot(join_id, 0, then)])
        assert numbers(backend.fetch_join(join_id)) == [0, 1, 9]

    def test_parts_are_any_bytes_and_many(self, backend: ResultBackend) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        size = 500
        parts = [b"\x80\x00\xff\r\n%d" % number for number in range(size)]
        backend.join([OpenJoin(join_id, size)])
        fills: list[JoinStep] = [
            slot(join_id, number, then, part=part) for number, part in enumerate(parts)
        ]
        assert len(backend.join(fills)) == 1
        found = backend.fetch_join(join_id)
        assert found is not None
        assert list(found.parts) == parts

    def test_opening_twice_changes_nothing(self, backend: ResultBackend) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        backend.join([OpenJoin(join_id, 2), slot(join_id, 0, then)])
        backend.join([OpenJoin(join_id, 2)])
        assert backend.join([slot(join_id, 1, then)])

    def test_of_no_join_nothing_is_known(self, backend: ResultBackend) -> None:
        counting(backend)
        assert backend.fetch_join(new_id()) is None
        assert not backend.join([])

    def test_an_unfinished_join_does_not_expire(
        self, backend: ResultBackend, elapse: Callable[[float], None]
    ) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        backend.join([OpenJoin(join_id, 2), slot(join_id, 0, then)])
        elapse(1.2)
        assert backend.join([slot(join_id, 1, then)])
        assert numbers(backend.fetch_join(join_id)) == [0, 1]

    def test_an_unfinished_join_expires_where_it_is_told_to(
        self, backend: ResultBackend, elapse: Callable[[float], None]
    ) -> None:
        counting(backend)
        join_id, then = new_id(), follow_up(Queue("q"), new_id())
        one = slot(join_id, 0, then)
        brief = FillSlot(one.join_id, one.task_id, one.slot, one.part, then, expires=1.0)
        backend.join([OpenJoin(join_id, 2, expires=1.0), brief])
        elapse(1.2)
        assert backend.fetch_join(join_id) is None


class JoiningPromises:
    """Steps that travel as effects of a settlement."""

    def test_the_last_member_enqueues_what_follows(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        counting(backend)
        join_id, next_id = new_id(), new_id()
        then = follow_up(other, next_id)
        backend.join([OpenJoin(join_id, 3)])
        consumer = claiming(station, queue, 3)
        for number, delivery in enumerate(take(consumer, 3)):
            assert places(station, other) == (0, 0, 0)
            stored = record(task_ids([delivery])[0])
            end = settlement(delivery, Ack(), records=[stored], joins=[slot(join_id, number, then)])
            assert consumer.exchange([end], 0).lost == ()
        assert task_ids(take(station.consumer(other), 1)) == [next_id]
        assert numbers(backend.fetch_join(join_id)) == [0, 1, 2]

    def test_a_whole_header_in_one_exchange(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        counting(backend)
        join_id, next_id = new_id(), new_id()
        then = follow_up(other, next_id)
        backend.join([OpenJoin(join_id, 20)])
        consumer = claiming(station, queue, 20)
        ends = [
            settlement(each, Ack(), joins=[slot(join_id, number, then)])
            for number, each in enumerate(take(consumer, 20))
        ]
        consumer.exchange(ends, 0)
        assert task_ids(take(station.consumer(other), 1)) == [next_id]
        assert places(station, other) == (0, 1, 0)

    def test_opening_filling_and_closing_in_one_settlement(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        counting(backend)
        join_id, next_id = new_id(), new_id()
        consumer = claiming(station, queue, 2)
        first, second = take(consumer, 2)
        steps: list[JoinStep] = [
            OpenJoin(join_id, 2),
            *(slot(join_id, number, follow_up(other, next_id)) for number in range(2)),
        ]
        consumer.exchange([settlement(first, Ack(), joins=steps)], 0)
        assert places(station, other) == (1, 0, 0)
        consumer.exchange([settlement(second, Ack(), joins=[CloseJoin(join_id)])], 0)
        found = backend.fetch_join(join_id)
        assert found is not None
        assert found.closed

    def test_a_refused_settlement_fills_nothing(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        counting(backend)
        join_id = new_id()
        backend.join([OpenJoin(join_id, 1)])
        consumer = claiming(station, queue, 1)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Ack())], 0)
        late = slot(join_id, 0, follow_up(other, new_id()))
        end = settlement(delivery, Ack(), joins=[late])
        assert consumer.exchange([end], 0).lost == (delivery.receipt,)
        found = backend.fetch_join(join_id)
        assert found is not None
        assert found.parts == ()
        assert places(station, other) == (0, 0, 0)

    def test_what_follows_keeps_its_form(
        self, station: Station, backend: ResultBackend, queue: Queue, other: Queue
    ) -> None:
        counting(backend)
        join_id, next_id = new_id(), new_id()
        body = b'[["chord", "\\u00e9"], {"a": null}, {}]'
        sent = message(next_id, body=body)
        then = FollowUp(envelope.dump_compact(sent), other, None)
        consumer = claiming(station, queue, 1)
        (delivery,) = take(consumer, 1)
        steps: list[JoinStep] = [OpenJoin(join_id, 1), slot(join_id, 0, then)]
        consumer.exchange([settlement(delivery, Ack(), joins=steps)], 0)
        (found,) = take(station.consumer(other), 1)
        loaded = envelope.load(found.raw)
        assert loaded.body == body
        assert loaded.headers["id"] == next_id
        assert loaded.content_type == sent.content_type


def claiming(station: Station, queue: Queue, count: int) -> Consumer:
    """Send so many messages and return a consumer of their queue."""
    station.send(queue, count)
    return station.consumer(queue)


def described(due: Sequence[FollowUp]) -> list[tuple[str, str]]:
    """Return the queue and the task id of each message: a store may write it its own way."""
    return [(each.queue.name, str(envelope.load(each.raw).headers["id"])) for each in due]
