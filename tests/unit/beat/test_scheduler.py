"""A scheduler on the memory driver, with a clock that only the test moves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from umbel import Umbel
from umbel.app.periodic import BeatLazyFunc
from umbel.app.timetable import Timetable
from umbel.beat.service import Scheduler
from umbel.drivers import opening
from umbel.drivers.memory import MemoryDriver
from umbel.errors import ImproperlyConfigured, UsageError
from umbel.model.message import TaskMessage
from umbel.ports import Driver
from umbel.schedules import crontab
from umbel.testing.conformance.station import LONG_LEASE, presence
from umbel.testing.manual_clock import ManualClock


class Bench:
    """An app on a memory driver, and what its queue holds."""

    def __init__(self, clock: ManualClock, make: Callable[..., Umbel]) -> None:
        self.clock = clock
        self.make = make
        self.app = make()

    def scheduler(self, app: Umbel | None = None) -> Scheduler:
        made = Scheduler(app or self.app, clock=self.clock)
        made.read_program()
        return made

    def sent(self) -> list[TaskMessage]:
        queue = self.app.router.default
        broker = self.app.broker
        consumer = broker.open_consumer([queue], presence=presence(), lease=LONG_LEASE)
        from umbel.wire import envelope

        found = [
            self.app.decode(envelope.load(each.raw)) for each in consumer.receive(1000, timeout=0)
        ]
        consumer.close()
        broker.purge(queue.name)
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    clock = ManualClock(datetime(2026, 3, 1, 11, 59, 30, tzinfo=UTC))
    drivers: dict[str, Driver] = {}

    def opened(url: str, options: Any = None) -> Driver:
        return drivers.setdefault(url, MemoryDriver(clock))

    monkeypatch.setattr(opening, "open_driver", opened)
    monkeypatch.setattr("umbel.app.connections.open_driver", opened)
    apps: list[Umbel] = []

    def make(**settings: Any) -> Umbel:
        given = {"broker_url": "memory://bench", "result_backend": "memory://bench", **settings}
        app = Umbel("bench", set_as_current=False, **given)
        app.task(name="tick")(lambda *args, **kwargs: None)
        apps.append(app)
        return app

    yield Bench(clock, make)
    for app in apps:
        app.close()


MINUTELY = {"tick": {"task": "tick", "schedule": 60.0, "args": (1,), "kwargs": {"a": 2}}}


def test_it_sends_what_is_due_and_tells_when_to_look_again(bench: Bench) -> None:
    scheduler = bench.scheduler(bench.make(beat_schedule=MINUTELY, beat_max_loop_interval=300))
    assert scheduler.tick() == 60.0
    assert bench.sent() == []
    bench.clock.advance(60)
    assert scheduler.tick() == 60.0
    (message,) = bench.sent()
    assert (message.task, list(message.args), message.kwargs) == ("tick", [1], {"a": 2})
    assert message.headers["celery_beat_task"] is True
    assert message.headers["periodic_task_name"] == "tick"
    assert message.headers["scheduled_for"] == "2026-03-01T12:00:30+00:00"


def test_two_schedulers_send_a_tick_once(bench: Bench) -> None:
    app = bench.make(beat_schedule=MINUTELY)
    both = [bench.scheduler(app), bench.scheduler(app)]
    for _ in range(10):
        for scheduler in both:
            scheduler.tick()
        bench.clock.advance(60)
    assert len(bench.sent()) == 9
    assert app.schedule.get("tick").runs == 9


def test_options_of_the_entry_count(bench: Bench) -> None:
    options = {"expires": 10, "priority": 3, "headers": {"mine": "h"}, "queue": "celery"}
    app = bench.make(beat_schedule={"tick": {**MINUTELY["tick"], "options": options}})
    scheduler = bench.scheduler(app)
    scheduler.tick()
    bench.clock.advance(60)
    scheduler.tick()
    (message,) = bench.sent()
    assert message.headers["mine"] == "h"
    assert message.priority == 3
    assert message.expires is not None


def test_lazy_arguments_are_computed_when_they_are_sent(bench: Bench) -> None:
    counted = iter(range(5))
    lazy = BeatLazyFunc(lambda start: start + next(counted), 100)
    app = bench.make(beat_schedule={"tick": {**MINUTELY["tick"], "args": (lazy,)}})
    scheduler = bench.scheduler(app)
    scheduler.tick()
    for _ in range(2):
        bench.clock.advance(60)
        scheduler.tick()
    assert [list(each.args) for each in bench.sent()] == [[100], [101]]


def test_an_entry_that_cannot_be_sent_stops_no_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {"task": "tick", "schedule": 60.0, "args": (object(),)}
    app = bench.make(beat_schedule={**MINUTELY, "broken": broken})
    scheduler = bench.scheduler(app)
    scheduler.tick()
    bench.clock.advance(60)
    with caplog.at_level(logging.ERROR, "umbel.beat"):
        scheduler.tick()
    assert [each.headers["periodic_task_name"] for each in bench.sent()] == ["tick"]
    assert "broken cannot be sent; its run is passed over" in caplog.text
    assert app.schedule.get("broken").next_due == bench.clock.now() + timedelta(seconds=60)


def test_what_the_program_no_longer_defines_goes(bench: Bench) -> None:
    bench.scheduler(bench.make(beat_schedule=MINUTELY)).tick()
    app = bench.make(beat_schedule={})
    assert [each.name for each in app.schedule.list()] == ["tick"]
    bench.scheduler(app).tick()
    assert app.schedule.list() == []


def test_a_new_rule_begins_anew_and_anything_else_goes_on(bench: Bench) -> None:
    bench.scheduler(bench.make(beat_schedule=MINUTELY)).tick()
    before = bench.app.schedule.get("tick")
    bench.clock.advance(10)
    changed = {"tick": {**MINUTELY["tick"], "args": (7,), "jitter": 3}}
    bench.scheduler(bench.make(beat_schedule=changed)).tick()
    assert bench.app.schedule.get("tick").next_due == before.next_due
    faster = {"tick": {**MINUTELY["tick"], "schedule": 30.0}}
    bench.scheduler(bench.make(beat_schedule=faster)).tick()
    assert bench.app.schedule.get("tick").next_due == bench.clock.now() + timedelta(seconds=30)


def test_it_is_paused_and_resumed_at_run_time(bench: Bench) -> None:
    app = bench.make(beat_schedule=MINUTELY)
    scheduler = bench.scheduler(app)
    scheduler.tick()
    app.schedule.pause("tick")
    bench.clock.advance(180)
    scheduler.tick()
    assert bench.sent() == []
    assert app.schedule.get("tick").paused
    bench.scheduler(app).tick()  # a new scheduler respects it
    assert app.schedule.get("tick").paused
    app.schedule.resume("tick")
    assert not app.schedule.get("tick").paused


def test_entries_can_be_added_and_removed_at_run_time(bench: Bench) -> None:
    scheduler = bench.scheduler()
    assert scheduler.tick() == 5.0
    moment = bench.clock.now() + timedelta(seconds=90)
    schedule = Timetable(bench.app, bench.clock)
    schedule.add("later", "tick", moment, (5,), options={"priority": 1})
    bench.clock.advance(90)
    scheduler.tick()
    (message,) = bench.sent()
    assert (list(message.args), message.priority) == ([5], 1)
    assert bench.app.schedule.get("later").next_due is None
    with pytest.raises(UsageError, match="'later' would never run: once at 2026-03-01 12:01:00"):
        schedule.add("later", "tick", moment, replace=True)
    schedule.remove("later")
    assert bench.app.schedule.list() == []


def test_what_may_not_be_done_is_told(bench: Bench) -> None:
    app = bench.make(beat_schedule=MINUTELY)
    bench.scheduler(app).tick()
    with pytest.raises(UsageError, match="'tick' is defined by the program, which would bring it"):
        app.schedule.remove("tick")
    with pytest.raises(UsageError, match="'tick' is defined by the program"):
        app.schedule.add("tick", "tick", 5)
    with pytest.raises(UsageError, match="no entry 'tock'; there are tick"):
        app.schedule.pause("tock")
    app.schedule.add("more", "tick", "@daily")
    with pytest.raises(UsageError, match="there is an entry 'more' already"):
        app.schedule.add("more", "tick", 5)
    assert app.schedule.add("more", "tick", 5, replace=True).rule["seconds"] == 5
    assert len(app.schedule.next("more", 3)) == 3


def test_run_sends_it_now_beside_its_schedule(bench: Bench) -> None:
    app = bench.make(beat_schedule=MINUTELY)
    bench.scheduler(app).tick()
    app.schedule.run("tick")
    (message,) = bench.sent()
    assert message.headers["periodic_task_name"] == "tick"
    assert app.schedule.get("tick").runs == 0


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"task": "tick"}, "the entry 'x' has no 'schedule'"),
        ({"schedule": 5}, "the entry 'x' has no 'task'"),
        ({"task": "tick", "shedule": 5}, "unknown key 'shedule'; did you mean 'schedule'?"),
        ({"task": "tick", "schedule": "never"}, "it has 1 fields and needs five"),
        ({"task": "tick", "schedule": 5, "catch_up": "some"}, "catch_up is one of skip, latest"),
        ({"task": "tick", "schedule": 5, "jitter": -1}, "jitter is -1; give seconds, 0 or more"),
        (5, "the entry 'x' is 5, which is no mapping"),
    ],
)
def test_a_wrong_entry_is_told_at_the_start(bench: Bench, entry: object, says: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        bench.scheduler(bench.make(beat_schedule={"x": entry}))
    assert says in str(caught.value)
    assert "beat_schedule" in str(caught.value)


def test_programs_add_entries_as_in_celery(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    app = bench.make()

    @app.on_after_finalize.connect
    def set_up(sender: Any, **_: Any) -> None:
        tick = sender.tasks["tick"]
        sender.add_periodic_task(10.0, tick.s(1), name="often", expires=5)
        sender.add_periodic_task(crontab(hour=7), tick.s(2))
        sender.add_periodic_task(crontab(hour=8), tick.s(2))

    with caplog.at_level(logging.WARNING, "umbel.beat"):
        scheduler = bench.scheduler(app)
    assert "was added twice" in caplog.text
    scheduler.tick()
    assert [each.name for each in app.schedule.list()] == ["often", "tick(2)"]


def test_a_store_apart_from_the_broker_sends_a_run_again_under_its_id(bench: Bench) -> None:
    app = bench.make(beat_schedule=MINUTELY, beat_store="memory://apart")
    scheduler, other = bench.scheduler(app), bench.scheduler(app)
    scheduler.tick()
    other.tick()
    bench.clock.advance(60)
    publishing = app.publishing

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(publishing), "publish", dies)
        with pytest.raises(KeyboardInterrupt):
            scheduler.tick()
    other.tick()
    assert bench.sent() == []  # somebody is at it, as far as anybody knows
    bench.clock.advance(31)
    other.tick()
    (message,) = bench.sent()
    assert app.schedule.get("tick").runs == 1
    assert message.headers["scheduled_for"] == "2026-03-01T12:00:30+00:00"
