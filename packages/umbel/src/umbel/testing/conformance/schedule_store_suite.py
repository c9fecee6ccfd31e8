"""The promises of ``ports.ScheduleStore``, as tests to subclass.

A test module gives the fixture ``driver``, with the store and the broker that its changes send to;
and ``unreachable_driver``, one whose service is not there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from umbel.errors import OperationalError
from umbel.model.queues import Queue
from umbel.model.schedule_entry import ScheduleChange, ScheduleEntry
from umbel.ports import Driver, ScheduleStore
from umbel.testing.conformance.station import LONG_LEASE, PATIENCE, new_id, outgoing, presence

DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(name: str = "tick", **fields: object) -> ScheduleEntry:
    """Return an entry that runs every minute."""
    rule = {"kind": "interval", "seconds": 60.0}
    return ScheduleEntry(name=name, task="tasks.tick", rule=rule, **fields)  # type: ignore[arg-type]


class ScheduleStoreSuite:
    """Everything a schedule store promises. Subclass it and give it ``driver``."""

    @pytest.fixture
    def driver(self) -> Driver:
        """Return the driver under test. Names are random, so others may be on it."""
        raise NotImplementedError("give the suite a fixture named driver")

    @pytest.fixture
    def unreachable_driver(self) -> Driver:
        """Return a driver whose service cannot be reached."""
        pytest.skip("this store is always there")

    @pytest.fixture
    def store(self, driver: Driver) -> Iterator[ScheduleStore]:
        """Return a new timetable."""
        store = driver.schedule_store(f"suite-{new_id()}")
        assert store is not None
        yield store
        store.close()

    def test_a_new_timetable_is_empty(self, store: ScheduleStore) -> None:
        assert store.entries() == {}

    def test_an_entry_is_kept_as_it_is(self, store: ScheduleStore) -> None:
        full = entry(
            zone="Europe/Berlin",
            call='{"args": [1, "ä"]}',
            origin="program",
            catch_up="all",
            deadline=30.0,
            jitter=2.5,
            paused=True,
            next_due=DUE,
            last_due=DUE - timedelta(minutes=1),
            last_sent=DUE,
            runs=7,
            claimed_by="me",
            claimed_until=DUE,
        )
        assert store.change([ScheduleChange("tick", 0, full)]) == [True]
        assert store.entries()["tick"].entry == full

    def test_only_who_knows_the_state_may_change_it(self, store: ScheduleStore) -> None:
        assert store.change([ScheduleChange("tick", 0, entry())]) == [True]
        assert list(store.change([ScheduleChange("tick", 0, entry(runs=9))])) == [False]
        first = store.entries()["tick"].revision
        assert store.change([ScheduleChange("tick", first, entry(runs=1))]) == [True]
        assert list(store.change([ScheduleChange("tick", first, entry(runs=2))])) == [False]
        assert store.entries()["tick"].entry.runs == 1

    def test_a_state_never_has_the_number_of_an_earlier_one(self, store: ScheduleStore) -> None:
        seen: set[int] = set()
        for _ in range(3):
            assert store.change([ScheduleChange("tick", 0, entry())]) == [True]
            revision = store.entries()["tick"].revision
            assert revision not in seen
            assert revision > 0
            seen.add(revision)
            assert store.change([ScheduleChange("tick", revision, None)]) == [True]
            assert store.entries() == {}

    def test_each_change_stands_for_itself(self, store: ScheduleStore) -> None:
        changes = [
            ScheduleChange("a", 0, entry("a")),
            ScheduleChange("b", 17, entry("b")),
            ScheduleChange("c", 0, entry("c")),
        ]
        assert list(store.change(changes)) == [True, False, True]
        assert set(store.entries()) == {"a", "c"}
        assert list(store.change([])) == []

    def test_what_a_change_sends_is_sent_with_it(
        self, driver: Driver, store: ScheduleStore
    ) -> None:
        queue = Queue(f"suite-{new_id()}")
        sent = (
            outgoing(queue, "now"),
            outgoing(queue, "urgent", priority=0),
            outgoing(queue, "later", due_at=datetime(2999, 1, 1, tzinfo=UTC)),
        )
        assert store.change([ScheduleChange("tick", 0, entry(), sent)]) == [True]
        broker = driver.broker()
        consumer = broker.open_consumer([queue], presence=presence(), lease=LONG_LEASE)
        try:
            claimed = consumer.receive(5, PATIENCE)
            assert len(claimed) == 2
            (stats,) = broker.stats([queue.name])
            assert (stats.ready, stats.delayed) == (0, 1)
        finally:
            consumer.close()
            broker.purge(queue.name)

    def test_what_a_refused_change_sends_is_not_sent(
        self, driver: Driver, store: ScheduleStore
    ) -> None:
        queue = Queue(f"suite-{new_id()}")
        change = ScheduleChange("tick", 5, entry(), (outgoing(queue, "never"),))
        assert list(store.change([change])) == [False]
        (stats,) = driver.broker().stats([queue.name])
        assert (stats.ready, stats.delayed) == (0, 0)

    def test_a_waiting_consumer_hears_of_what_is_sent(
        self, driver: Driver, store: ScheduleStore
    ) -> None:
        queue = Queue(f"suite-{new_id()}")
        consumer = driver.broker().open_consumer([queue], presence=presence(), lease=LONG_LEASE)
        timer = threading.Timer(
            0.05,
            lambda: store.change([ScheduleChange("tick", 0, entry(), (outgoing(queue, "x"),))]),
        )
        timer.start()
        try:
            assert len(consumer.receive(1, PATIENCE)) == 1
        finally:
            timer.join()
            consumer.close()
            driver.broker().purge(queue.name)

    def test_of_many_schedulers_one_is_heard(self, driver: Driver, store: ScheduleStore) -> None:
        queue = Queue(f"suite-{new_id()}")
        assert store.change([ScheduleChange("tick", 0, entry())]) == [True]
        revision = store.entries()["tick"].revision
        start = threading.Barrier(8)
        answers: list[bool] = []

        def fire(number: int) -> None:
            change = ScheduleChange(
                "tick", revision, entry(runs=1), (outgoing(queue, str(number)),)
            )
            start.wait()
            answers.extend(store.change([change]))

        threads = [threading.Thread(target=fire, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False] * 7 + [True]
        (stats,) = driver.broker().stats([queue.name])
        assert stats.ready == 1
        driver.broker().purge(queue.name)

    def test_the_version_tells_of_every_change(self, store: ScheduleStore) -> None:
        seen = {store.version()}
        store.change([ScheduleChange("tick", 0, entry())])
        seen.add(store.version())
        assert store.version() in seen
        store.change([ScheduleChange("tick", 0, entry())])
        assert store.version() in seen
        store.change([ScheduleChange("tick", store.entries()["tick"].revision, None)])
        assert store.version() not in seen

    def test_timetables_do_not_know_each_other(self, driver: Driver, store: ScheduleStore) -> None:
        other = driver.schedule_store(f"suite-{new_id()}")
        assert other is not None
        store.change([ScheduleChange("tick", 0, entry())])
        assert other.entries() == {}
        other.close()

    def test_a_service_that_is_away_is_an_operational_error(
        self, unreachable_driver: Driver
    ) -> None:
        store = unreachable_driver.schedule_store("suite")
        assert store is not None
        with pytest.raises(OperationalError):
            store.entries()
        with pytest.raises(OperationalError):
            store.change([ScheduleChange("tick", 0, entry())])
