"""Random histories of a store against a model of it: nothing lost, nothing settled twice."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from umbel.drivers.memory import MemoryDriver
from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.location import Location
from umbel.model.delivery import Ack, Delivery, Quarantine, Receipt, Requeue, Verdict
from umbel.model.queues import Queue
from umbel.model.shelves import Selection, Shelf, Shelved, Withdrawal
from umbel.ports import Consumer, Driver
from umbel.testing.conformance.station import (
    new_id,
    outgoing,
    presence,
    record,
    settlement,
    task_id_of,
)
from umbel.testing.manual_clock import ManualClock

LEASE = 10.0
QUEUE = Queue("celery")
WORKERS = 3


class Expected(msgspec.Struct):
    """What the model knows of one message that has not ended."""

    task_id: str
    priority: int
    place: int
    count: int = 0
    due: float | None = None
    receipt: Receipt | None = None
    owner: int | None = None


class StoreMachine(RuleBasedStateMachine):
    """Sends, claims, settles, lets time pass; checks every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.driver = self.open_driver()
        self.publisher = self.driver.broker().open_publisher()
        self.alive: dict[str, Expected] = {}
        self.ended: set[str] = set()
        self.stale: list[tuple[int, Delivery]] = []
        self.held: list[tuple[int, Delivery]] = []
        self.aside: dict[str, Expected] = {}
        self.places = 0

    def open_driver(self) -> Driver:
        raise NotImplementedError

    @initialize()
    def open_consumers(self) -> None:
        self.owners = [presence() for _ in range(WORKERS)]
        self.until = [self.now() + LEASE for _ in range(WORKERS)]
        self.consumers = [self.open_consumer(worker) for worker in range(WORKERS)]

    def open_consumer(self, worker: int) -> Consumer:
        return self.driver.broker().open_consumer(
            [QUEUE],
            presence=self.owners[worker],
            lease=LEASE,
            results=self.driver.result_backend(),
        )

    def now(self) -> float:
        return self.clock.now().timestamp()

    def next_place(self) -> int:
        self.places += 1
        return self.places

    def delay(self, about: float) -> float:
        """Return a delay no other message has: nothing is promised of two due at one moment."""
        return about + 0.001 * self.next_place() if about > 0 else about

    def expect(self, task_id: str, priority: int, delay: float) -> None:
        due = self.now() + delay if delay > 0 else None
        self.alive[task_id] = Expected(task_id, priority, self.next_place(), due=due)

    # --- what may happen --------------------------------------------------------------------------

    @rule(
        messages=st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from([-1.0, 0.0, 3.0, 7.0])), max_size=4
        )
    )
    def publish(self, messages: list[tuple[int, float]]) -> None:
        batch = []
        for priority, about in messages:
            task_id, delay = new_id(), self.delay(about)
            due_at = self.clock.now() + timedelta(seconds=delay) if delay else None
            batch.append(outgoing(QUEUE, task_id, priority=priority, due_at=due_at))
            self.expect(task_id, priority, delay)
        self.publisher.publish(batch, timeout=5.0)

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(worker=st.integers(0, WORKERS - 1), limit=st.integers(1, 4))
    def claim(self, worker: int, limit: int) -> None:
        self.rescue_by(worker)
        ready = self.ready()
        deliveries = self.consumers[worker].exchange([], limit).deliveries
        assert [task_id_of(each) for each in deliveries] == [e.task_id for e in ready[:limit]]
        for delivery, expected in zip(deliveries, ready, strict=False):
            assert delivery.count == expected.count + 1
            assert delivery.redelivered == (expected.count > 0)
            assert all(delivery.receipt != old.receipt for _, old in self.held + self.stale)
            expected.receipt, expected.owner = delivery.receipt, worker
            self.held.append((worker, delivery))

    def rescue_by(self, worker: int) -> None:
        """What a claim does first: renew its own lease, free the dead, move what is due."""
        self.until[worker] = self.now() + LEASE
        for other in range(WORKERS):
            if other != worker and self.until[other] <= self.now():
                self.free(other, counted=1)
        due = [e for e in self.alive.values() if e.due is not None and e.due <= self.now()]
        for expected in sorted(due, key=lambda e: (e.due or 0.0, e.place)):
            expected.due, expected.place = None, self.next_place()

    def ready(self) -> list[Expected]:
        found = [e for e in self.alive.values() if e.receipt is None and e.due is None]
        return sorted(found, key=lambda e: (e.priority, e.place))

    def free(self, worker: int, *, counted: int) -> None:
        for expected in self.alive.values():
            if expected.owner == worker:
                expected.owner = expected.receipt = None
                expected.count += counted
        self.stale += [pair for pair in self.held if pair[0] == worker]
        self.held = [pair for pair in self.held if pair[0] != worker]

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        verdict=st.sampled_from(
            [
                Ack(),
                Ack(),
                Requeue(),
                Requeue(front=False),
                Requeue(counted=True),
                Quarantine("why"),
                None,
            ]
        ),
        follow_up=st.booleans(),
    )
    def settle(self, data: st.DataObject, verdict: Verdict | None, follow_up: bool) -> None:
        worker, delivery = data.draw(st.sampled_from(self.held))
        task_id = task_id_of(delivery)
        expected = self.alive[task_id]
        assert expected.receipt == delivery.receipt
        next_id = new_id()
        follows = [outgoing(QUEUE, next_id)] if follow_up and not is_requeue(verdict) else []
        stored = [record(next_id, document=task_id.encode())]
        end = settlement(delivery, verdict, records=stored, outgoing=follows)
        assert self.consumers[worker].exchange([end], 0).lost == ()
        assert self.driver.result_backend().fetch([next_id])[next_id].document == task_id.encode()
        self.judge(worker, delivery, expected, verdict)
        if follows:
            self.expect(next_id, 0, 0.0)

    def judge(
        self, worker: int, delivery: Delivery, expected: Expected, verdict: Verdict | None
    ) -> None:
        if verdict is None:
            return
        self.held.remove((worker, delivery))
        self.stale.append((worker, delivery))
        if isinstance(verdict, Requeue):
            expected.owner = expected.receipt = None
            expected.count += verdict.counted
            if not verdict.front:
                expected.place = self.next_place()
        else:
            del self.alive[expected.task_id]
            assert expected.task_id not in self.ended
            self.ended.add(expected.task_id)
            if isinstance(verdict, Quarantine):
                expected.count += 1
                self.aside[expected.task_id] = expected

    # --- what people do to what rests -------------------------------------------------------------

    def shelved(self, shelf: Shelf, task_id: str) -> Shelved:
        """Return the one message with this id, found as a person would have it found."""
        wanted = Selection(containing=(task_id.encode(),))
        shelves = self.driver.broker().shelves()
        page = shelves.page(shelf, QUEUE.name, wanted, after=None, limit=10)
        (entry,) = page.entries
        return entry

    def withdraw(self, shelf: Shelf, withdrawal: Withdrawal, task_id: str) -> None:
        """Do it twice, with a record: it happens once."""
        shelves = self.driver.broker().shelves(self.driver.result_backend())
        told = record(new_id(), document=task_id.encode())
        withdrawal = msgspec.structs.replace(withdrawal, records=(told,))
        assert shelves.withdraw(shelf, QUEUE.name, [withdrawal]) == [withdrawal.id]
        assert told.task_id in self.driver.result_backend().fetch([told.task_id])
        if withdrawal.due_at is None:
            assert shelves.withdraw(shelf, QUEUE.name, [withdrawal]) == []

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        worker, delivery = data.draw(st.sampled_from(self.held))
        end = settlement(delivery, Quarantine("why"))
        assert self.consumers[worker].exchange([end], 0).lost == ()
        expected = self.alive[task_id_of(delivery)]
        self.judge(worker, delivery, expected, Quarantine("why"))

    @precondition(lambda self: self.aside)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        self.take_back(data.draw(st.sampled_from(list(self.aside))), again=True)

    @precondition(lambda self: self.aside)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        self.take_back(data.draw(st.sampled_from(list(self.aside))), again=False)

    def take_back(self, task_id: str, *, again: bool) -> None:
        expected = self.aside.pop(task_id)
        entry = self.shelved(Shelf.QUARANTINE, task_id)
        assert entry.count == expected.count
        raw = entry.raw if again else None
        self.withdraw(Shelf.QUARANTINE, Withdrawal(id=entry.id, raw=raw), task_id)
        if again:
            self.ended.remove(task_id)
            self.expect(task_id, expected.priority, 0.0)

    @precondition(lambda self: any(e.due is not None for e in self.alive.values()))
    @rule(data=st.data(), about=st.sampled_from([None, -1.0, 2.0, 9.0]))
    def cancel_or_reschedule(self, data: st.DataObject, about: float | None) -> None:
        resting = [e.task_id for e in self.alive.values() if e.due is not None]
        expected = self.alive[data.draw(st.sampled_from(resting))]
        entry = self.shelved(Shelf.DELAYED, expected.task_id)
        assert entry.count == expected.count
        assert abs(entry.at.timestamp() - (expected.due or 0.0)) < 0.0001
        if about is None:
            self.withdraw(Shelf.DELAYED, Withdrawal(id=entry.id), expected.task_id)
            del self.alive[expected.task_id]
            self.ended.add(expected.task_id)
            return
        delay = self.delay(about)
        due_at = self.clock.now() + timedelta(seconds=delay)
        moved = Withdrawal(id=entry.id, raw=entry.raw, due_at=due_at)
        self.withdraw(Shelf.DELAYED, moved, expected.task_id)
        if delay > 0:
            expected.due = self.now() + delay
        else:
            expected.due, expected.place = None, self.next_place()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), about=st.sampled_from([-1.0, 4.0]))
    def requeue_for_later(self, data: st.DataObject, about: float) -> None:
        delay = self.delay(about)
        worker, delivery = data.draw(st.sampled_from(self.held))
        expected = self.alive[task_id_of(delivery)]
        later = Requeue(due_at=self.clock.now() + timedelta(seconds=delay))
        assert self.consumers[worker].exchange([settlement(delivery, later)], 0).lost == ()
        self.held.remove((worker, delivery))
        self.stale.append((worker, delivery))
        expected.owner = expected.receipt = None
        if delay > 0:
            expected.due = self.now() + delay
        else:
            expected.place = self.next_place()

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), verdict=st.sampled_from([Ack(), Requeue(), Quarantine("why"), None]))
    def settle_again(self, data: st.DataObject, verdict: Verdict | None) -> None:
        worker, delivery = data.draw(st.sampled_from(self.stale))
        absent = new_id()
        end = settlement(
            delivery, verdict, records=[record(absent)], outgoing=[outgoing(QUEUE, absent)]
        )
        assert self.consumers[worker].exchange([end], 0).lost == (delivery.receipt,)
        assert self.driver.result_backend().fetch([absent]) == {}

    @rule(worker=st.integers(0, WORKERS - 1))
    def extend(self, worker: int) -> None:
        receipts = [each.receipt for owner, each in self.held + self.stale if owner == worker]
        lost = self.consumers[worker].extend(receipts, self.owners[worker])
        ours = [each.receipt for owner, each in self.held if owner == worker]
        assert set(lost) == set(receipts) - set(ours)
        self.until[worker] = self.now() + LEASE

    @rule(worker=st.integers(0, WORKERS - 1))
    def close_and_come_back(self, worker: int) -> None:
        self.consumers[worker].close()
        self.free(worker, counted=0)
        self.owners[worker] = presence()
        self.consumers[worker] = self.open_consumer(worker)
        self.until[worker] = self.now() + LEASE

    @rule()
    def purge(self) -> None:
        gone = [e.task_id for e in self.alive.values() if e.receipt is None]
        assert self.driver.broker().purge(QUEUE.name) == len(gone)
        for task_id in gone:
            del self.alive[task_id]
            self.ended.add(task_id)

    # --- what must always hold --------------------------------------------------------------------

    @invariant()
    def every_message_is_somewhere(self) -> None:
        (stats,) = self.driver.broker().stats([QUEUE.name])
        claimed = [e for e in self.alive.values() if e.receipt is not None]
        resting = [e for e in self.alive.values() if e.due is not None and e.due > self.now()]
        assert stats.claimed == len(claimed)
        assert stats.delayed == len(resting)
        assert stats.quarantined == len(self.aside)
        assert stats.ready == len(self.alive) - len(claimed) - len(resting)

    def teardown(self) -> None:
        self.clock.advance(1000.0)
        last = self.driver.broker().open_consumer([QUEUE], presence=presence(), lease=LEASE)
        found = [task_id_of(each) for each in last.exchange([], 10_000).deliveries]
        came_back = list(getattr(self, "aside", {}))
        for task_id in came_back:
            self.take_back(task_id, again=True)
            (delivery,) = last.exchange([], 10).deliveries
            assert (task_id_of(delivery), delivery.count) == (task_id, 1)
            del self.alive[task_id]
        last.close()
        for consumer in getattr(self, "consumers", []):
            consumer.close()
        self.publisher.close()
        self.driver.broker().close()
        self.driver.result_backend().close()
        assert sorted(found) == sorted(self.alive)


def is_requeue(verdict: Verdict | None) -> bool:
    return isinstance(verdict, Requeue)


class MemoryMachine(StoreMachine):
    def open_driver(self) -> Driver:
        return MemoryDriver(self.clock)


class SqliteMachine(StoreMachine):
    directory: ClassVar[Path]

    def open_driver(self) -> Driver:
        file = Path(tempfile.mkdtemp(dir=self.directory)) / "umbel.sqlite3"
        return SqliteDriver(Location(file, synchronous="off"), self.clock)


LIMITS = {
    "stateful_step_count": 40,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
}


class TestMemoryAgainstTheModel(MemoryMachine.TestCase):  # type: ignore[misc] # made by hypothesis
    settings = settings(max_examples=150, **LIMITS)


class TestSqliteAgainstTheModel(SqliteMachine.TestCase):  # type: ignore[misc] # made by hypothesis
    settings = settings(max_examples=60, **LIMITS)

    @pytest.fixture(autouse=True)
    def directory(self, tmp_path: Path) -> None:
        SqliteMachine.directory = tmp_path
