"""What every broker promises that can show what was set aside and what rests until its time.

Part of ``broker_suite.BrokerSuite``; see there for the fixtures. A broker without the capability
``quarantine`` or ``resting`` skips the tests of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from umbel.errors import NotSupported
from umbel.model.delivery import Ack, Delivery, Quarantine, Requeue
from umbel.model.queues import Outgoing, Queue
from umbel.model.shelves import EVERYTHING, Aside, Selection, Shelf, Shelved, Withdrawal
from umbel.ports import Consumer, ResultBackend, Shelves
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    message,
    needs,
    new_id,
    outgoing,
    places,
    record,
    settlement,
    take,
    task_ids,
)
from umbel.wire import envelope

CRASHED = Quarantine("worker lost", "Traceback:\n  a line with ünïcode", "WorkerLostError")
NEEDED = {Shelf.QUARANTINE: "quarantine", Shelf.DELAYED: "resting"}


class ShelvingPromises:
    """Looking at what rests, and taking it off its shelf."""

    @pytest.fixture
    def shelves(self, station: Station) -> Shelves:
        """Return the shelves of the broker under test, with the station's results."""
        if not (station.broker.capabilities.quarantine or station.broker.capabilities.resting):
            pytest.skip("the broker shows nothing of what rests")
        return station.broker.shelves(station.backend)

    def test_what_cannot_be_shown_is_refused_in_words(self, station: Station, queue: Queue) -> None:
        for shelf, capability in NEEDED.items():
            if getattr(station.broker.capabilities, capability):
                continue
            with pytest.raises(NotSupported) as caught:
                everything(station.broker.shelves(station.backend), shelf, queue)
            assert len(str(caught.value)) > 20

    # --- the quarantine ---------------------------------------------------------------------------

    def test_what_is_set_aside_tells_all_about_it(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "quarantine")
        station.send(queue)
        consumer = station.consumer(queue, name="worker@here")
        (first,) = take(consumer, 1)
        consumer.exchange([settlement(first, Requeue(counted=True))], 0)
        (second,) = take(consumer, 1)
        set_aside(consumer, second)
        (entry,) = everything(shelves, Shelf.QUARANTINE, queue)
        assert entry.queue == queue.name
        assert envelope.load(entry.raw).headers == envelope.load(second.raw).headers
        assert entry.count == 2
        assert (entry.reason, entry.detail) == (CRASHED.reason, CRASHED.detail)
        assert (entry.error, entry.worker) == ("WorkerLostError", "worker@here")
        assert abs(entry.at - now()) < timedelta(seconds=PATIENCE)
        assert shelves.fetch(Shelf.QUARANTINE, queue.name, [entry.id, "nobody"]) == [entry]
        (stats,) = station.broker.stats([queue.name])
        assert stats.quarantined == 1
        assert stats.quarantined_since == entry.at

    def test_bytes_that_are_no_message_are_kept_as_they_are(
        self, station: Station, shelves: Shelves, queue: Queue
    ) -> None:
        needs(station, "quarantine")
        raw = b'not\nJSON "at all" \x00\xff'
        twice = Aside(queue=queue.name, raw=raw, verdict=Quarantine("undecodable"), worker="w@h")
        shelves.set_aside([twice, twice])
        entries = everything(shelves, Shelf.QUARANTINE, queue)
        assert [entry.raw for entry in entries] == [raw, raw]
        assert [entry.count for entry in entries] == [1, 1]
        assert {entry.worker for entry in entries} == {"w@h"}
        assert len({entry.id for entry in entries}) == 2
        assert places(station, queue) == (0, 0, 0)

    def test_an_empty_quarantine_has_no_age(self, station: Station, queue: Queue) -> None:
        needs(station, "quarantine")
        (stats,) = station.broker.stats([queue.name])
        assert (stats.quarantined, stats.quarantined_since) == (0, None)

    def test_a_retry_goes_to_its_queue_and_was_never_delivered(
        self, station: Station, shelves: Shelves, backend: ResultBackend, queue: Queue
    ) -> None:
        needs(station, "quarantine")
        (task_id,) = station.send(queue, priority=3)
        urgent = station.send(queue, priority=0)
        consumer = station.consumer(queue)
        first, second = take(consumer, 2)
        consumer.exchange([settlement(first, Ack())], 0)
        consumer.exchange([settlement(second, Requeue(counted=True))], 0)
        (second,) = take(consumer, 1)
        failed = settlement(second, CRASHED, records=[record(task_id, "FAILURE")])
        consumer.exchange([failed], 0)
        (entry,) = everything(shelves, Shelf.QUARANTINE, queue)
        back = Withdrawal(id=entry.id, raw=entry.raw, forget=(task_id,))
        assert list(shelves.withdraw(Shelf.QUARANTINE, queue.name, [back])) == [entry.id]
        assert backend.fetch([task_id]) == {}
        assert places(station, queue) == (1, 0, 0)
        assert everything(shelves, Shelf.QUARANTINE, queue) == []
        urgent = station.send(queue, priority=0)
        again = take(consumer, 2)
        assert task_ids(again) == [*urgent, task_id]
        assert (again[1].count, again[1].redelivered) == (1, False)

    def test_a_retry_wakes_who_waits(
        self, station: Station, shelves: Shelves, queue: Queue
    ) -> None:
        needs(station, "quarantine")
        shelves.set_aside([Aside(queue=queue.name, raw=a_message(station, queue), verdict=CRASHED)])
        (entry,) = everything(shelves, Shelf.QUARANTINE, queue)
        consumer = station.consumer(queue)
        waiting = InThread(lambda: consumer.receive(1, PATIENCE))
        back = Withdrawal(id=entry.id, raw=entry.raw)
        shelves.withdraw(Shelf.QUARANTINE, queue.name, [back])
        assert len(waiting.result()) == 1

    def test_a_withdrawal_happens_once(
        self, station: Station, shelves: Shelves, backend: ResultBackend, queue: Queue
    ) -> None:
        needs(station, "quarantine")
        shelves.set_aside([Aside(queue=queue.name, raw=a_message(station, queue), verdict=CRASHED)])
        (entry,) = everything(shelves, Shelf.QUARANTINE, queue)
        back = Withdrawal(id=entry.id, raw=entry.raw)
        assert shelves.withdraw(Shelf.QUARANTINE, queue.name, [back, back]) == [entry.id]
        task_id = new_id()
        late = Withdrawal(id=entry.id, records=(record(task_id, "REVOKED"),))
        unknown = Withdrawal(id="no such id", raw=b"{}")
        assert shelves.withdraw(Shelf.QUARANTINE, queue.name, [late, unknown]) == []
        assert backend.fetch([task_id]) == {}
        assert places(station, queue) == (1, 0, 0)

    def test_what_is_discarded_is_gone(
        self, station: Station, shelves: Shelves, backend: ResultBackend, queue: Queue
    ) -> None:
        needs(station, "quarantine")
        station.send(queue, 3)
        consumer = station.consumer(queue)
        for delivery in take(consumer, 3):
            set_aside(consumer, delivery)
        first, second, third = everything(shelves, Shelf.QUARANTINE, queue)
        task_id = new_id()
        gone = [
            Withdrawal(id=third.id),
            Withdrawal(id=first.id, records=(record(task_id, "REVOKED"),)),
        ]
        assert set(shelves.withdraw(Shelf.QUARANTINE, queue.name, gone)) == {first.id, third.id}
        assert everything(shelves, Shelf.QUARANTINE, queue) == [second]
        assert backend.fetch([task_id])[task_id].state == "REVOKED"
        (stats,) = station.broker.stats([queue.name])
        assert (stats.quarantined, stats.ready) == (1, 0)

    def test_a_quarantine_is_of_its_queue(
        self, station: Station, shelves: Shelves, queue: Queue, other: Queue
    ) -> None:
        needs(station, "quarantine")
        shelves.set_aside(
            [
                Aside(queue=each.name, raw=a_message(station, each), verdict=CRASHED)
                for each in (queue, other)
            ]
        )
        (entry,) = everything(shelves, Shelf.QUARANTINE, queue)
        assert shelves.fetch(Shelf.QUARANTINE, other.name, [entry.id]) == []
        assert shelves.withdraw(Shelf.QUARANTINE, other.name, [Withdrawal(id=entry.id)]) == []
        assert station.broker.purge(queue.name) == 0
        assert everything(shelves, Shelf.QUARANTINE, queue) == [entry]

    # --- what rests until its time ----------------------------------------------------------------

    def test_what_rests_is_told_in_the_order_it_is_due(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        start = whole(now())
        later = [start + timedelta(hours=hours) for hours in (5, 1, 3)]
        ids = [station.send(queue, due_at=due)[0] for due in later]
        entries = everything(shelves, Shelf.DELAYED, queue)
        assert [id_of(entry) for entry in entries] == [ids[1], ids[2], ids[0]]
        assert [entry.at for entry in entries] == sorted(later)
        assert [(entry.reason, entry.count) for entry in entries] == [("", 0)] * 3

    def test_pages_tell_each_message_once(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        start = whole(now()) + timedelta(hours=1)
        ids = []
        for hours in (0, 0, 0, 1, 1, 2):
            due = start + timedelta(hours=hours)
            ids += station.send(queue, 10, due_at=due)
        told = [id_of(entry) for entry in everything(shelves, Shelf.DELAYED, queue, size=7)]
        assert len(told) == len(ids)
        assert set(told) == set(ids)
        assert set(told[:30]) == set(ids[:30])

    def test_pages_miss_nothing_while_others_leave(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        due = whole(now()) + timedelta(hours=1)
        ids = station.send(queue, 30, due_at=due)
        told: list[str] = []
        after: str | None = None
        while True:
            page = shelves.page(Shelf.DELAYED, queue.name, EVERYTHING, after=after, limit=7)
            told += [id_of(entry) for entry in page.entries]
            gone = [Withdrawal(id=entry.id) for entry in page.entries]
            assert len(shelves.withdraw(Shelf.DELAYED, queue.name, gone)) == len(gone)
            after = page.after
            if after is None:
                break
        assert sorted(told) == sorted(ids)
        assert places(station, queue) == (0, 0, 0)

    def test_only_what_is_wanted_is_told(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        start = whole(now()) + timedelta(hours=1)
        moments = [start + timedelta(hours=hours) for hours in range(4)]
        ids = [station.send(queue, due_at=due)[0] for due in moments]

        def told(**fields: object) -> list[str]:
            selection = Selection(**fields)  # type: ignore[arg-type]  # each test its own
            found = everything(shelves, Shelf.DELAYED, queue, selection=selection)
            return [id_of(entry) for entry in found]

        assert told(since=moments[1], until=moments[3]) == ids[1:3]
        assert told(until=moments[0]) == []
        assert told(since=moments[3]) == ids[3:]
        wanted = (ids[0].encode(), ids[2].encode())
        assert told(containing=wanted) == [ids[0], ids[2]]
        assert told(containing=wanted, since=moments[1]) == [ids[2]]
        assert told(containing=(b"no such text",)) == []

    def test_what_is_withdrawn_never_comes(
        self,
        station: Station,
        shelves: Shelves,
        backend: ResultBackend,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "resting")
        (task_id,) = station.send(queue, due_at=now() + timedelta(seconds=0.6))
        (entry,) = everything(shelves, Shelf.DELAYED, queue)
        gone = Withdrawal(id=entry.id, records=(record(task_id, "REVOKED"),))
        assert shelves.withdraw(Shelf.DELAYED, queue.name, [gone]) == [entry.id]
        assert backend.fetch([task_id])[task_id].state == "REVOKED"
        elapse(0.7)
        assert not station.consumer(queue).receive(1, 0.0)
        assert places(station, queue) == (0, 0, 0)

    def test_another_time_is_the_one_that_counts(
        self,
        station: Station,
        shelves: Shelves,
        queue: Queue,
        now: Callable[[], datetime],
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "resting")
        soon, late = now() + timedelta(seconds=0.5), whole(now()) + timedelta(hours=2)
        (first,) = station.send(queue, due_at=soon)
        (second,) = station.send(queue, due_at=late)
        entries = everything(shelves, Shelf.DELAYED, queue)
        changed = [
            Withdrawal(id=entries[0].id, raw=entries[0].raw, due_at=late + timedelta(hours=1)),
            Withdrawal(id=entries[1].id, raw=entries[1].raw, due_at=soon),
        ]
        assert len(shelves.withdraw(Shelf.DELAYED, queue.name, changed)) == 2
        assert [id_of(each) for each in everything(shelves, Shelf.DELAYED, queue)] == [
            second,
            first,
        ]
        elapse(0.6)
        assert task_ids(take(station.consumer(queue), 1)) == [second]
        (left,) = everything(shelves, Shelf.DELAYED, queue)
        assert (id_of(left), left.at) == (first, late + timedelta(hours=1))

    def test_what_may_begin_now_wakes_who_waits(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        ids = station.send(queue, 2, due_at=now() + timedelta(hours=1))
        consumer = station.consumer(queue)
        waiting = InThread(lambda: consumer.receive(1, PATIENCE))
        entry = next(e for e in everything(shelves, Shelf.DELAYED, queue) if id_of(e) == ids[1])
        at_once = Withdrawal(id=entry.id, raw=entry.raw, due_at=now() - timedelta(seconds=1))
        assert shelves.withdraw(Shelf.DELAYED, queue.name, [at_once]) == [entry.id]
        assert task_ids(waiting.result()) == [ids[1]]

    def test_what_is_parked_says_why_and_keeps_its_count(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        why = 'no task named "ünknown" is registered here'
        parked = Requeue(due_at=now() + timedelta(hours=1), counted=True, why=why)
        consumer.exchange([settlement(delivery, parked)], 0)
        (entry,) = everything(shelves, Shelf.DELAYED, queue)
        assert (entry.reason, entry.count) == (why, 1)
        assert envelope.load(entry.raw).body == envelope.load(delivery.raw).body
        at_once = Withdrawal(id=entry.id, raw=entry.raw, due_at=now())
        shelves.withdraw(Shelf.DELAYED, queue.name, [at_once])
        (delivery,) = take(consumer, 1)
        assert delivery.count == 2

    def test_large_messages_rest_too(
        self, station: Station, shelves: Shelves, queue: Queue, now: Callable[[], datetime]
    ) -> None:
        needs(station, "resting")
        large = Outgoing(
            message=message(new_id(), body=b"x\n" * 300_000),
            queue=queue,
            due_at=now() + timedelta(hours=1),
        )
        station.publish(large)
        (entry,) = everything(shelves, Shelf.DELAYED, queue)
        assert envelope.load(entry.raw).body == large.message.body


def everything(
    shelves: Shelves,
    shelf: Shelf,
    queue: Queue,
    *,
    size: int = 100,
    selection: Selection = EVERYTHING,
) -> list[Shelved]:
    """Return what is on a shelf, read page by page."""
    found: list[Shelved] = []
    after: str | None = None
    while True:
        page = shelves.page(shelf, queue.name, selection, after=after, limit=size)
        assert len(page.entries) <= size
        found.extend(page.entries)
        after = page.after
        if after is None:
            return found


def set_aside(consumer: Consumer, delivery: Delivery) -> None:
    """Settle a claim by setting its message aside."""
    assert consumer.exchange([settlement(delivery, CRASHED)], 0).lost == ()


def a_message(station: Station, queue: Queue) -> bytes:
    """Return a message in the form in which the store keeps it, and leave the queue as it was."""
    station.publish(outgoing(queue, new_id()))
    consumer = station.consumer(queue)
    (delivery,) = take(consumer, 1)
    consumer.exchange([settlement(delivery, Ack())], 0)
    return delivery.raw


def id_of(entry: Shelved) -> str:
    """Return the task id inside a message."""
    return str(envelope.load(entry.raw).headers["id"])


def whole(moment: datetime) -> datetime:
    """Return a moment without its fraction: stores keep milliseconds, or less."""
    return moment.replace(microsecond=0)
