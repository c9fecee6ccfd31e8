"""What may stand in a crontab, and what is said about what may not."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from umbel.errors import UsageError
from umbel.schedules import ParseException, crontab, to_schedule
from umbel.schedules.kinds import from_dict


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ("*", set(range(60))),
        ("*/15", {0, 15, 30, 45}),
        ("5", {5}),
        (5, {5}),
        ("1-4", {1, 2, 3, 4}),
        ("1-10/3", {1, 4, 7, 10}),
        ("50-10/15", {50, 5}),
        ("1,5-6, 50-58/4", {1, 5, 6, 50, 54, 58}),
        ([1, "5-6"], {1, 5, 6}),
        ({3, 4}, {3, 4}),
        (range(0, 60, 20), {0, 20, 40}),
    ],
)
def test_minutes_mean_these_numbers(spec: object, numbers: set[int]) -> None:
    assert crontab(minute=spec).minute == numbers  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [("fri-mon", {5, 6, 0, 1}), ("mon,thursday", {1, 4}), ("SUN", {0}), ("tues", {2}), (0, {0})],
)
def test_weekdays_have_names(spec: object, numbers: set[int]) -> None:
    assert crontab(day_of_week=spec).day_of_week == numbers  # type: ignore[arg-type]


def test_steps_of_days_begin_at_the_first_day() -> None:
    assert crontab(day_of_month="*/10").day_of_month == {1, 11, 21, 31}


def test_months_have_names() -> None:
    assert crontab(month_of_year="dec-feb").month_of_year == {12, 1, 2}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"minute": "60"}, "minute: 60 in '60' is not within 0 to 59"),
        ({"day_of_week": 7}, "day_of_week: 7 in 7 is not within 0 to 6; Sunday is 0"),
        ({"minute": "5/10"}, "minute: '5/10' has a step and no range; write 5-59/10"),
        ({"hour": "*/0"}, "hour: a step of 0 in '*/0' leads nowhere"),
        ({"day_of_month": "L"}, "day_of_month: 'L' in 'L' is no number"),
        ({"month_of_year": "foo"}, "'foo' in 'foo' is no number; names are jan, feb"),
        ({"minute": "a b"}, "minute: 'ab' in 'ab' is no number"),
        ({"minute": ""}, "minute: cannot read '' in ''"),
        ({"minute": []}, "minute: an empty list would never run"),
        ({"minute": None}, "minute: None is no number, string or list of them"),
        ({"minute": 1.5}, "minute: 1.5 is no number, string or list of them"),
        (
            {"day_of_month": "31", "month_of_year": "2,apr"},
            "'* * 31 2,apr *' never comes: no month of month_of_year has such a day_of_month",
        ),
    ],
)
def test_what_cannot_be_read_is_told(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ParseException) as caught:
        crontab(**fields)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ValueError)


def test_a_cron_line_has_its_own_order() -> None:
    assert crontab.from_string("5 4 1 2 3") == crontab(5, 4, 3, 1, 2)
    assert crontab.from_string("@daily") == crontab(0, 0)
    with pytest.raises(ParseException, match="it has 4 fields and needs five"):
        crontab.from_string("* * * *")


def test_the_fields_are_positional_in_celerys_order() -> None:
    assert repr(crontab(1, 2, 3, 4, 5)) == "<crontab: 1 2 4 5 3 (m/h/dM/MY/d)>"


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_it_is_a_value(zone: str | None) -> None:
    made = crontab([0, 30], "8-18", "mon-fri", tz=zone)
    assert pickle.loads(pickle.dumps(made)) == made
    assert from_dict(made.as_dict()) == made
    assert hash(from_dict(made.as_dict())) == hash(made)
    assert made != crontab([0, 30], "8-18", "mon-sat", tz=zone)


def test_a_zone_that_does_not_exist_is_told() -> None:
    with pytest.raises(UsageError, match="there is no time zone 'Europe/Atlantis'"):
        crontab(tz="Europe/Atlantis")


def test_strings_numbers_and_moments_become_schedules() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert to_schedule("0 3 * * *").next_after(start) == datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert to_schedule(2.5).next_after(start) == datetime(2026, 1, 1, 0, 0, 2, 500000, tzinfo=UTC)
    moment = datetime(2026, 5, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert to_schedule(moment).next_after(start) == moment
    assert to_schedule(moment).next_after(moment) is None
    with pytest.raises(UsageError, match="is no schedule; give seconds, a timedelta"):
        to_schedule(object())
    with pytest.raises(UsageError, match="no schedule has the kind 'moon'"):
        to_schedule({"kind": "moon"})
    with pytest.raises(UsageError, match="of the kind 'interval' does not look like"):
        to_schedule({"kind": "interval"})
    with pytest.raises(UsageError, match="has no time zone; make it aware"):
        to_schedule(datetime(2026, 5, 1))  # noqa: DTZ001 - that is the point
