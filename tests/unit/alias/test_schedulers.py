"""Scheduler classes of other packages: the base classes, and the loop that runs them."""

from __future__ import annotations

import importlib
import threading
from datetime import UTC, datetime, timedelta

import pytest

from umbel.app import signals
from umbel.errors import BrokerUnavailable
from umbel.testing import Sandbox

beat = importlib.import_module("celery.beat")
schedules = importlib.import_module("celery.schedules")


@pytest.fixture
def task(celery_app):
    @celery_app.task(name="add")
    def add(a, b):
        return a + b

    return add


def due(*args, **options):
    """A definition that was due a minute ago."""
    return {
        "task": "add",
        "schedule": timedelta(seconds=30),
        "args": args,
        "last_run_at": datetime.now(UTC) - timedelta(seconds=90),
        "options": options,
    }


def test_what_is_due_is_sent_once_and_counted(celery_app, task):
    celery_app.conf.beat_schedule = {"one": due(1, 2), "two": {**due(3, 4), "last_run_at": None}}
    with Sandbox(celery_app) as box:
        scheduler = beat.Scheduler(celery_app)
        wait = scheduler.tick()
        assert [list(each.args) for each in box.sent] == [[1, 2]]
        assert 0 < wait <= 30
        scheduler.tick()
        assert len(box.sent) == 1
    entry = scheduler.schedule["one"]
    assert entry.total_run_count == 1
    assert datetime.now(UTC) - entry.last_run_at < timedelta(seconds=30)


def test_arguments_that_are_computed_are_computed_when_they_are_sent(celery_app, task):
    celery_app.conf.beat_schedule = {"one": due(beat.BeatLazyFunc(lambda: 7), 2, queue="slow")}
    with Sandbox(celery_app) as box:
        beat.Scheduler(celery_app).tick()
        box.assert_enqueued("add", [7, 2], queue="slow")


def test_a_subclass_has_its_own_entries_and_its_own_memory(celery_app, task):
    saved = []

    class OwnEntry(beat.ScheduleEntry):
        def is_due(self):
            return schedules.schedstate(self.total_run_count < 2, 0.5)

    class Own(beat.Scheduler):
        Entry = OwnEntry
        sync_every_tasks = 1

        def setup_schedule(self):
            self.update_from_dict({"mine": {"task": "add", "schedule": 10, "args": (1, 1)}})

        def reserve(self, entry):
            return next(entry)  # as django-celery-beat: the schedule keeps the old one

        def sync(self):
            saved.append(True)

    with Sandbox(celery_app) as box:
        scheduler = Own(celery_app)
        assert [scheduler.tick() for _ in range(4)] == [0.5] * 4
        assert len(box.sent) == 2
    assert saved


def test_apply_entry_can_be_wrapped(celery_app, task, monkeypatch):
    seen = []
    plain = beat.Scheduler.apply_entry

    def wrapped(scheduler, entry, *args, **kwargs):
        entry.options.setdefault("headers", {})["monitor"] = entry.name
        seen.append(entry.name)
        return plain(scheduler, entry, *args, **kwargs)

    monkeypatch.setattr(beat.Scheduler, "apply_entry", wrapped)
    celery_app.conf.beat_schedule = {"one": due(1, 2)}
    with Sandbox(celery_app) as box:
        beat.Scheduler(celery_app).tick()
        assert dict(box.sent[0].headers) == {"monitor": "one"}
    assert seen == ["one"]


def test_an_entry_that_cannot_be_sent_is_logged_and_the_others_are(celery_app, task, caplog):
    celery_app.conf.beat_schedule = {"bad": due(1, 2, 3), "good": due(1, 2)}
    with Sandbox(celery_app) as box:
        beat.Scheduler(celery_app).tick()
        assert len(box.sent) == 1
    assert "The periodic task bad could not be sent" in caplog.text


def test_the_persistent_one_remembers_in_a_file(celery_app, task, tmp_path, caplog):
    file = tmp_path / "schedule"
    celery_app.conf.beat_schedule = {"one": due(1, 2)}
    with Sandbox(celery_app):
        first = beat.PersistentScheduler(celery_app, schedule_filename=file)
        first.tick()
        first.close()
    celery_app.conf.beat_schedule["one"] = due(1, 2)
    second = beat.PersistentScheduler(celery_app, schedule_filename=file)
    assert second.schedule["one"].total_run_count == 1
    assert second.schedule["one"].last_run_at == first.schedule["one"].last_run_at
    assert str(file) in second.info
    file.write_text("no json")
    third = beat.PersistentScheduler(celery_app, schedule_filename=file)
    assert third.schedule["one"].total_run_count == 0
    assert "cannot be read" in caplog.text


def test_the_service_runs_until_it_is_stopped_and_waits_for_the_broker(celery_app, task):
    ticks, told = [], []
    ended = threading.Event()

    class Own(beat.Scheduler):
        def tick(self):
            ticks.append(1)
            if len(ticks) == 1:
                raise BrokerUnavailable("away")
            service.stop()
            return 60.0

        def close(self):
            ended.set()

    receiver = signals.beat_init.connect(lambda sender, **_: told.append(sender), weak=False)
    try:
        thread = beat.EmbeddedService(celery_app)
        service = thread.service
        service.scheduler_cls = Own
        thread.start()
        assert ended.wait(10)
        thread.join(10)
    finally:
        signals.beat_init.disconnect(receiver)
    assert (len(ticks), told) == (2, [service])


def test_schedules_written_for_celery_need_only_celerys_methods():
    class Once(schedules.BaseSchedule):
        def __init__(self, when):
            self.when = when
            super().__init__()

        def remaining_estimate(self, last_run_at):
            return self.when - self.now()

        def is_due(self, last_run_at):
            left = self.remaining_estimate(None).total_seconds()
            return schedules.schedstate(left <= 0, max(left, 0))

    when = datetime.now(UTC) + timedelta(seconds=100)
    once = Once(when)
    assert once.is_due(None).is_due is False
    assert abs(once.next_after(datetime.now(UTC)) - when) < timedelta(seconds=1)
    with pytest.raises(Exception, match="of the class Once cannot be kept in a store"):
        once.as_dict()

    class Aware(schedules.crontab):
        def __init__(self, *args, tz, **kwargs):
            self.tz = tz
            super().__init__(*args, **kwargs)

    assert Aware(minute=0, hour=4, tz=UTC).tz is UTC
