"""Which runs a step sends, and when the next one is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from umbel.beat import turns
from umbel.model.schedule_entry import ScheduleEntry
from umbel.schedules import crontab, interval, once

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = interval(60)


def entry(**fields: Any) -> ScheduleEntry:
    values = {"name": "tick", "task": "tasks.tick", "rule": EVERY_MINUTE.as_dict()}
    return ScheduleEntry(**{**values, "next_due": START, **fields})


def test_nothing_is_due_before_its_time() -> None:
    assert turns.turn(entry(), EVERY_MINUTE, START - MINUTE) is None
    assert turns.turn(entry(next_due=None), EVERY_MINUTE, START) is None
    assert turns.turn(entry(paused=True), EVERY_MINUTE, START) is None


@pytest.mark.parametrize("catch_up", ["skip", "latest", "all"])
def test_what_is_on_time_runs_under_every_policy(catch_up: str) -> None:
    now = START + timedelta(milliseconds=200)
    step = turns.turn(entry(catch_up=catch_up), EVERY_MINUTE, now)
    assert step == turns.Turn((START,), START + MINUTE)


def test_latest_sends_one_run_for_all_that_were_missed() -> None:
    step = turns.turn(entry(), EVERY_MINUTE, START + 10.5 * MINUTE)
    assert step == turns.Turn((START + 10 * MINUTE,), START + 11 * MINUTE)


def test_skip_sends_none_of_them() -> None:
    step = turns.turn(entry(catch_up="skip"), EVERY_MINUTE, START + 10.5 * MINUTE)
    assert step == turns.Turn((), START + 11 * MINUTE, missed=1)


def test_all_sends_each_of_them() -> None:
    step = turns.turn(entry(catch_up="all"), EVERY_MINUTE, START + 2.5 * MINUTE)
    assert step is not None
    assert step.runs == (START, START + MINUTE, START + 2 * MINUTE)
    assert step.next_due == START + 3 * MINUTE


def test_all_goes_on_in_the_next_step() -> None:
    step = turns.turn(entry(catch_up="all"), EVERY_MINUTE, START + 1000 * MINUTE)
    assert step is not None
    assert len(step.runs) == turns.MOST_AT_ONCE
    assert step.next_due == START + turns.MOST_AT_ONCE * MINUTE


def test_a_deadline_bounds_what_is_made_up_for() -> None:
    late = START + 5.5 * MINUTE
    assert turns.turn(entry(deadline=20.0), EVERY_MINUTE, late) == turns.Turn(
        (), START + 6 * MINUTE, missed=1
    )
    assert turns.turn(entry(deadline=40.0), EVERY_MINUTE, late) == turns.Turn(
        (START + 5 * MINUTE,), START + 6 * MINUTE
    )
    step = turns.turn(entry(catch_up="all", deadline=100.0), EVERY_MINUTE, late)
    assert step is not None
    assert step.runs == (START + 4 * MINUTE, START + 5 * MINUTE)
    assert step.missed == 4


def test_a_year_of_seconds_is_no_effort() -> None:
    rule = interval(1)
    late = START + timedelta(days=365, milliseconds=500)
    step = turns.turn(entry(rule=rule.as_dict()), rule, late)
    assert step is not None
    assert step.runs == (START + timedelta(days=365),)


def test_wall_times_are_read_in_the_zone_of_the_entry() -> None:
    rule = crontab(0, 9)
    berlin = entry(rule=rule.as_dict(), zone="Europe/Berlin", next_due=None)
    assert turns.first_due(berlin, rule, START) == datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_what_comes_once_has_no_next_time() -> None:
    rule = once(START)
    assert turns.turn(entry(rule=rule.as_dict()), rule, START) == turns.Turn((START,), None)


def test_a_run_has_the_same_id_whoever_sends_it() -> None:
    first = turns.task_id_of("shop", "tick", START)
    assert first == turns.task_id_of("shop", "tick", START)
    others = [("shop", "tick", START + MINUTE), ("shop", "tock", START), ("other", "tick", START)]
    assert first not in [turns.task_id_of(*each) for each in others]


def test_jitter_is_the_same_for_every_scheduler_and_within_its_bounds() -> None:
    shaken = entry(jitter=30.0)
    seconds = [turns.put_off(shaken, START + n * MINUTE) for n in range(100)]
    assert seconds == [turns.put_off(shaken, START + n * MINUTE) for n in range(100)]
    assert all(0 <= each < 30 for each in seconds)
    assert len(set(seconds)) > 90
    assert turns.put_off(entry(), START) == 0.0


def test_a_step_is_noted() -> None:
    step = turns.Turn((START, START + MINUTE), START + 2 * MINUTE)
    before = entry(runs=3, claimed_by="somebody", claimed_until=START)
    after = turns.stepped(before, step, START + 3 * MINUTE)
    assert after == msgspec.structs.replace(
        entry(runs=5),
        next_due=START + 2 * MINUTE,
        last_due=START + MINUTE,
        last_sent=START + 3 * MINUTE,
    )


def test_a_claim_holds_for_others_and_for_a_while() -> None:
    held = turns.claimed(entry(), "me", START, 30.0)
    assert not turns.is_claimed(held, "me", START)
    assert turns.is_claimed(held, "you", START)
    assert not turns.is_claimed(held, "you", START + MINUTE)
