"""Intervals, single moments, the sun, and the questions that Celery's schedulers ask."""

from __future__ import annotations

import importlib
import pickle
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from umbel.errors import UsageError
from umbel.schedules import (
    ParseException,
    crontab,
    crontab_parser,
    interval,
    maybe_schedule,
    once,
    solar,
)
from umbel.schedules.kinds import from_dict

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)


def test_an_interval_counts_from_the_last_time() -> None:
    assert interval(90).next_after(START) == START + timedelta(seconds=90)
    assert str(interval(3600)) == "every 1 hour"
    assert str(interval(90)) == "every 90 seconds"


@pytest.mark.parametrize(
    ("length", "due"),
    [
        (timedelta(hours=1), datetime(2026, 1, 1, 11, tzinfo=UTC)),
        (timedelta(minutes=5), datetime(2026, 1, 1, 10, 25, tzinfo=UTC)),
        (timedelta(seconds=7), datetime(2026, 1, 1, 10, 20, 37, tzinfo=UTC)),
        (timedelta(days=1), datetime(2026, 1, 1, 23, tzinfo=UTC)),
    ],
)
def test_a_relative_interval_is_rounded_to_the_clock(length: timedelta, due: datetime) -> None:
    assert interval(length, relative=True).next_after(START, BERLIN) == due


def test_days_of_the_wall_clock_are_23_or_25_hours_long() -> None:
    daily = interval(timedelta(days=1), relative=True)
    for month, day, hours in ((3, 29, 23), (10, 25, 25)):
        begin = datetime(2026, month, day, tzinfo=BERLIN)
        following = daily.next_after(begin, BERLIN)
        assert following is not None
        assert following - begin.astimezone(UTC) == timedelta(hours=hours)


@pytest.mark.parametrize("wrong", [0, -1, timedelta(0), "5", True, float("nan"), 1e300])
def test_an_interval_that_is_none_is_told(wrong: object) -> None:
    with pytest.raises(UsageError, match="interval"):
        interval(wrong)  # type: ignore[arg-type]


def test_once_is_once() -> None:
    rule = once(START)
    assert rule.next_after(START - timedelta(days=1)) == START
    assert rule.next_after(START) is None
    assert rule.is_due(START) == (False, 300.0)


@pytest.mark.parametrize(
    "rule", [interval(5), interval(60, True), once(START), solar("sunset", 1, 2)]
)
def test_they_are_values(rule: interval | once | solar) -> None:
    assert from_dict(rule.as_dict()) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_the_sun_rises_and_sets() -> None:
    sunrise = solar("sunrise", 52.5, 13.4).next_after(START)
    assert sunrise is not None
    assert abs(sunrise - datetime(2026, 1, 2, 7, 16, tzinfo=UTC)) < timedelta(minutes=2)
    again = solar("sunrise", 52.5, 13.4).next_after(sunrise)
    assert again is not None
    assert timedelta(hours=23) < again - sunrise < timedelta(hours=25)


def test_polar_days_are_passed_over() -> None:
    # Tromso: the sun does not set from late May to late July.
    sunset = solar("sunset", 69.65, 18.96).next_after(datetime(2026, 6, 1, tzinfo=UTC))
    assert sunset is not None
    assert sunset.month == 7


def test_where_the_sun_never_does_it_there_is_no_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("umbel.schedules.solar")  # the package has the class so named
    monkeypatch.setattr(module, "SEARCHED_DAYS", 20)
    assert solar("sunset", 89, 0).next_after(datetime(2026, 6, 10, tzinfo=UTC)) is None


def test_wrong_places_and_events_are_told() -> None:
    with pytest.raises(UsageError, match="no solar event 'noon'; events are dawn_astronomical"):
        solar("noon", 0, 0)
    with pytest.raises(UsageError, match="latitude 91 is not within"):
        solar("sunset", 91, 0)
    with pytest.raises(UsageError, match="longitude -181 is not within"):
        solar("sunset", 0, -181)


def test_celerys_schedulers_get_their_answers() -> None:
    now = datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)
    app = SimpleNamespace(timezone="Europe/Berlin")
    rule = crontab(0, nowfun=lambda: now, app=app)
    assert rule.is_due(datetime(2026, 1, 1, 11, 30, tzinfo=UTC)) == (True, 3595.0)
    assert rule.is_due(datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)) == (False, 3595.0)
    assert rule.remaining_estimate(now) == timedelta(seconds=3595)
    assert rule.tz == BERLIN
    assert rule.to_local(now).hour == 13


def test_celerys_parser_of_fields_is_there() -> None:
    assert crontab_parser(60).parse("*/20") == {0, 20, 40}
    assert crontab_parser(31, 1).parse("30-2") == {30, 31, 1, 2}
    with pytest.raises(ParseException, match="24 in '24' is not within 0 to 23"):
        crontab_parser(24).parse("24")


def test_maybe_schedule_leaves_schedules_alone() -> None:
    assert maybe_schedule(5) == interval(5)
    assert maybe_schedule(timedelta(minutes=1), relative=True) == interval(60, True)
    rule = crontab()
    assert maybe_schedule(rule, app="app") is rule
    assert rule.app == "app"
