"""When a crontab runs: against a slow reference, and across every change of every clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from umbel.schedules import crontab
from umbel.schedules.wall import moment_of, next_change, wall_of

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def runs(rule: crontab, start: datetime, end: datetime, zone: tzinfo) -> list[datetime]:
    """Every run after ``start`` and before ``end``."""
    found: list[datetime] = []
    moment: datetime | None = start
    while (moment := rule.next_after(moment, zone)) is not None and moment < end:
        found.append(moment)
    return found


def reference(rule: crontab, start: datetime, end: datetime, zone: tzinfo) -> list[datetime]:
    """The same by going through every minute there is, and every minute clocks should show."""
    every_hour = len(rule.hour) == 24
    found: set[datetime] = set()
    if every_hour:
        moment = start.replace(second=0, microsecond=0)
        while moment < end:
            wall = wall_of(moment, zone)
            if _shows(rule, wall) and wall.second == 0:
                found.add(moment)
            moment += MINUTE
    else:
        wall = wall_of(start - 2 * DAY, zone).replace(second=0, microsecond=0)
        while wall < wall_of(end + 2 * DAY, zone):
            if _shows(rule, wall):
                found.add(moment_of(wall, zone))
            wall += MINUTE
    return sorted(each for each in found if start < each < end)


def _shows(rule: crontab, wall: datetime) -> bool:
    return (
        wall.minute in rule.minute
        and wall.hour in rule.hour
        and wall.day in rule.day_of_month
        and wall.month in rule.month_of_year
        and wall.isoweekday() % 7 in rule.day_of_week
    )


@cache
def changes(zone: tzinfo, first: int = 2008, last: int = 2028) -> tuple[datetime, ...]:
    """Every change of the zone's offset in these years."""
    found = []
    moment = datetime(first, 1, 1, tzinfo=UTC)
    while moment.year < last:
        change = next_change(moment, moment + 3 * DAY, zone)
        if change is not None:
            found.append(change)
        moment += 3 * DAY
    return tuple(found)


ZONES = sorted(available_timezones() - {"localtime"})
RULES = [
    crontab(30, 2),
    crontab(0),
    crontab("*/20"),
    crontab("*/15", "1-3"),
    crontab(0, 0),
    crontab("*/7", "*", "*", "*/2"),
    crontab(59, "23,0"),
]


def test_a_skipped_time_runs_at_the_first_moment_after_the_gap() -> None:
    start = datetime(2026, 3, 28, 22, tzinfo=UTC)
    found = runs(crontab("*/15", "2"), start, start + DAY, BERLIN)
    assert found == [datetime(2026, 3, 29, 1, tzinfo=UTC)]


def test_a_repeated_time_runs_at_its_first_copy() -> None:
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    found = runs(crontab(30, 2), start, start + DAY, BERLIN)
    assert found == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


@pytest.mark.parametrize("month", [3, 10])
def test_every_hour_has_no_hole_in_real_time(month: int) -> None:
    start = datetime(2026, month, 20, 0, 30, tzinfo=UTC)
    found = runs(crontab(0), start, start + 10 * DAY, BERLIN)
    assert {after - before for before, after in pairwise(found)} == {60 * MINUTE}


def test_a_leap_day_on_a_sunday_is_found() -> None:
    rule = crontab(0, 12, "sun", 29, 2)
    assert rule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(
        2032, 2, 29, 12, tzinfo=UTC
    )


def test_its_own_zone_goes_first() -> None:
    rule = crontab(0, 9, tz="Asia/Shanghai")
    assert rule.next_after(datetime(2026, 1, 1, tzinfo=UTC), BERLIN) == datetime(
        2026, 1, 1, 1, tzinfo=UTC
    )


def test_the_end_of_time_is_no_error() -> None:
    for rule in (crontab(0), crontab(0, 0)):
        assert rule.next_after(datetime.max.replace(tzinfo=UTC) - MINUTE) is None


FIELDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day_of_week": (0, 6),
    "day_of_month": (1, 28),
    "month_of_year": (1, 12),
}


@st.composite
def rules(draw: st.DrawFn) -> crontab:
    words: dict[str, object] = {}
    for name, (first, last) in FIELDS.items():
        if draw(st.booleans()):
            words[name] = draw(st.sets(st.integers(first, last), min_size=1, max_size=6))
    return crontab(**words)  # type: ignore[arg-type]


@given(
    rule=rules(),
    name=st.sampled_from(ZONES),
    pick=st.integers(0, 10_000),
    before=st.integers(1, 2880),
)
@example(rule=crontab(30), name="Australia/Lord_Howe", pick=3, before=30)
@example(rule=crontab("*/10"), name="America/Havana", pick=5, before=100)
@example(rule=crontab(0, 12), name="Pacific/Apia", pick=2, before=1500)
@example(rule=crontab(0), name="Pacific/Apia", pick=2, before=1500)
def test_it_runs_when_a_slow_reference_says_so(
    rule: crontab, name: str, pick: int, before: int
) -> None:
    zone = ZoneInfo(name)
    known = changes(zone)
    middle = known[pick % len(known)] if known else datetime(2026, 7, 1, tzinfo=UTC)
    start = middle - before * MINUTE
    end = start + 2 * DAY
    assert runs(rule, start, end, zone) == reference(rule, start, end, zone)


@pytest.mark.slow
def test_nothing_is_run_twice_or_missed_at_any_change_of_any_zone() -> None:
    seen = 0
    offsets: set[tuple[object, ...]] = set()
    for name in ZONES:
        zone = ZoneInfo(name)
        for change in changes(zone):
            # Clocks that are set from and to the same time of day need no second look.
            walls = wall_of(change - MINUTE, zone), wall_of(change, zone)
            key = (*(wall.time() for wall in walls), walls[1].date() - walls[0].date())
            if key in offsets:
                continue
            offsets.add(key)
            start, end = change - 200 * MINUTE, change + 200 * MINUTE
            for rule in RULES:
                assert runs(rule, start, end, zone) == reference(rule, start, end, zone), name
                seen += 1
    assert seen > 200
