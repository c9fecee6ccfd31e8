"""Five schedulers, killed at random, on a month of ticks that passes in seconds: each tick once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import postgres_server
from tests.redis_server import RedisServer
from umbel import Umbel
from umbel.beat.service import Scheduler
from umbel.errors import OutcomeUnknown
from umbel.model.schedule_entry import ScheduleChange
from umbel.ports import ScheduleStore
from umbel.schedules import Schedule, crontab, interval
from umbel.testing.conformance.station import LONG_LEASE, presence
from umbel.testing.manual_clock import ManualClock
from umbel.wire import envelope

START = datetime(2026, 3, 15, 0, 30, tzinfo=UTC)
MONTH = timedelta(days=31)
RULES: dict[str, Schedule] = {
    "hourly": crontab(0),
    "nightly": crontab(30, 2),
    "work": crontab("*/30", "8-17", "mon-fri"),
    "often": interval(2 * 3600),
}


class Killed(BaseException):
    """What kill -9 is to the scheduler under test: nothing after it is run."""


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'month.sqlite3'}?synchronous=off"
        return
    if request.param == "postgresql":
        with postgres_server.database("month") as url:
            yield f"{url}?synchronous_commit=off"
        return
    server = RedisServer().start()
    yield server.url(0)
    server.close()


def dying_store(store: ScheduleStore, dice: random.Random, deaths: Counter[str]) -> Any:
    """Return a ``change`` that dies now and then: before it, after it, or without an answer."""
    change = store.change

    def dies(changes: Sequence[ScheduleChange]) -> Sequence[bool]:
        fate = dice.random()
        if fate < 0.05:
            deaths["before"] += 1
            raise Killed
        made = change(changes)
        if fate < 0.10:
            deaths["after"] += 1
            raise Killed
        if fate < 0.12:
            deaths["unheard"] += 1
            raise OutcomeUnknown("the answer was lost")
        return made

    return dies


def test_a_month_of_ticks_under_random_kills(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(20260315)
    clock = ManualClock(START)
    app = Umbel("month", broker_url=url, result_backend=url, set_as_current=False)
    app.conf.timezone = "Europe/Berlin"
    app.conf.beat_schedule = {
        name: {"task": "tick", "schedule": rule, "args": (name,), "catch_up": "all"}
        for name, rule in RULES.items()
    }
    app.task(name="tick")(lambda name: name)
    deaths: Counter[str] = Counter()
    store = app.connections.schedule_store
    monkeypatch.setattr(store, "change", dying_store(store, dice, deaths))

    def born() -> Scheduler:
        scheduler = Scheduler(app, clock=clock)
        scheduler.read_program()
        return scheduler

    schedulers = [born() for _ in range(5)]
    first_seen: datetime | None = None
    while clock.now() < START + MONTH:
        for place in dice.sample(range(5), dice.randint(1, 5)):
            try:
                schedulers[place].tick()
            except (Killed, OutcomeUnknown):
                schedulers[place] = born()
        if first_seen is None and len(store.entries()) == len(RULES):
            first_seen = clock.now()
        clock.advance(dice.choice((300, 600, 1500)))
    monkeypatch.undo()
    born().tick()

    assert sum(deaths.values()) > 50, deaths
    assert first_seen == START
    sent = Counter((name, due) for name, due in messages(app))
    assert max(sent.values()) == 1
    for name, rule in RULES.items():
        assert {due for known, due in sent if known == name} == due_times(
            rule, START, clock.now(), app
        )
    app.close()


def messages(app: Umbel) -> Iterator[tuple[str, datetime]]:
    """Yield entry and due time of everything in the queue."""
    queue = app.router.default
    consumer = app.broker.open_consumer([queue], presence=presence(), lease=LONG_LEASE)
    while claimed := consumer.receive(1000, timeout=0):
        for each in claimed:
            headers = app.decode(envelope.load(each.raw)).headers
            yield headers["periodic_task_name"], datetime.fromisoformat(headers["scheduled_for"])
    consumer.close()


def due_times(rule: Schedule, start: datetime, end: datetime, app: Umbel) -> set[datetime]:
    found: set[datetime] = set()
    moment = rule.next_after(start, app.timezone)
    while moment is not None and moment <= end:
        found.add(moment)
        moment = rule.next_after(moment, app.timezone)
    return found
