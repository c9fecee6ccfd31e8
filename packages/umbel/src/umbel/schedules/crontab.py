"""``crontab``: wall-clock times by minute, hour, weekday, day and month.

Syntax, argument order and the AND of the day fields are Celery's. When clocks are set the rule is
ours, and stated (docs/howto/periodic-tasks.md):

* A schedule for **every hour** (``hour`` covers all 24) goes by elapsed time: it runs at each
  moment whose wall time matches, in both copies of a repeated hour; a skipped hour is skipped.
* Any other names **times of day**: each is run once a day. One that is repeated runs at its first
  copy; one that is skipped runs at the first moment after the gap (several: once).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from typing import Any

from umbel.schedules.cron_fields import (
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    HOUR,
    MINUTE,
    MONTH_OF_YEAR,
    FieldSpec,
    ParseException,
)
from umbel.schedules.rule import BaseSchedule, zone_name, zone_of
from umbel.schedules.wall import moment_of, next_change, wall_of

DAY = timedelta(days=1)
SEARCHED_YEARS = 40
"""Years within which every possible date comes, 29 February on a given weekday across a century
that is no leap year included."""
LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """Run whenever the wall clock shows a matching minute.

    Every field is an integer, a string such as ``*/15``, ``8-18/2``, ``mon,thu`` or ``fri-mon``, or
    a list of these; left out, it is ``*``. **All fields must match**, the two day fields as well
    (the cron of Unix takes either). Note the order: ``day_of_week`` is the third.

    ``tz``: a zone (``Europe/Berlin`` or a tzinfo) of its own; without, the app's ``timezone``.
    ``nowfun`` and ``app`` are there for schedulers written for Celery. Raises ParseException (a
    UsageError and ValueError) for a field that cannot be read and for a date that never comes.
    """

    def __init__(
        self,
        minute: FieldSpec = "*",
        hour: FieldSpec = "*",
        day_of_week: FieldSpec = "*",
        day_of_month: FieldSpec = "*",
        month_of_year: FieldSpec = "*",
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        *,
        tz: tzinfo | str | None = None,
    ) -> None:
        super().__init__(nowfun, app)
        self._orig_minute = _kept(minute)
        self._orig_hour = _kept(hour)
        self._orig_day_of_week = _kept(day_of_week)
        self._orig_day_of_month = _kept(day_of_month)
        self._orig_month_of_year = _kept(month_of_year)
        self.minute = MINUTE.read(self._orig_minute)
        self.hour = HOUR.read(self._orig_hour)
        self.day_of_week = DAY_OF_WEEK.read(self._orig_day_of_week)
        self.day_of_month = DAY_OF_MONTH.read(self._orig_day_of_month)
        self.month_of_year = MONTH_OF_YEAR.read(self._orig_month_of_year)
        self.zone = zone_of(tz) if tz is not None else None
        if not self._possible():
            raise ParseException(
                f"{self.as_cron()!r} never comes: no month of month_of_year has such a day_of_month"
            )

    @classmethod
    def from_string(cls, text: str, *, tz: tzinfo | str | None = None) -> crontab:
        """Read the five fields of a cron line: minute, hour, day of month, month, day of week.

        Also the nicknames ``@hourly``, ``@daily`` (``@midnight``), ``@weekly``, ``@monthly`` and
        ``@yearly`` (``@annually``). Raises ParseException.
        """
        words = NICKNAMES.get(text.strip().lower(), text).split()
        if len(words) != 5:
            raise ParseException(
                f"cannot read {text!r} as a crontab: it has {len(words)} fields and needs five:"
                " minute, hour, day of month, month, day of week"
            )
        minute, hour, day_of_month, month, day_of_week = words
        return cls(minute, hour, day_of_week, day_of_month, month, tz=tz)

    @property
    def tz(self) -> tzinfo:
        """The zone in which wall times are read: its own, or the app's."""
        return self.zone if self.zone is not None else super().tz

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        zone = self.zone if self.zone is not None else zone
        if self.hour == HOUR.every:
            return self._next_elapsed(moment.astimezone(UTC), zone)
        return self._next_of_day(moment.astimezone(UTC), zone)

    # --- times of day -----------------------------------------------------------------------------

    def _next_of_day(self, moment: datetime, zone: tzinfo) -> datetime | None:
        # A wall time in a gap that ended at this moment, or before, was yesterday's business.
        for wall in self._walls(wall_of(moment, zone)):
            due = moment_of(wall, zone)
            if due > moment:
                return due
        return None

    def _walls(self, begin: datetime) -> Iterator[datetime]:
        """Yield matching wall times from ``begin`` on, in order."""
        day, start = begin.date(), begin.time()
        while (found := self._next_day(day)) is not None:
            earliest = start if found == begin.date() else time()
            for moment in self._times:
                if moment >= earliest.replace(second=0, microsecond=0):
                    yield datetime.combine(found, moment)
            if found == date.max:
                return
            day = found + DAY

    @cached_property
    def _times(self) -> list[time]:
        return [time(hour, minute) for hour in sorted(self.hour) for minute in sorted(self.minute)]

    # --- every hour -------------------------------------------------------------------------------

    def _next_elapsed(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The next moment whose wall time matches, going from one change of offset to the next."""
        now = moment.replace(second=0, microsecond=0)
        limit = moment.year + SEARCHED_YEARS
        while now.year <= limit:
            wall = wall_of(now, zone)
            if now > moment and wall.second == 0 and self._matches(wall):
                return now
            step = self._step(wall)
            if step is None:
                return None
            try:
                after = now + step
            except OverflowError:
                return None
            # Where clocks are set back on the way, wall times come again: go no further than that.
            change = next_change(now, after, zone)
            now = after if change is None else min(after, change)
        return None

    def _step(self, wall: datetime) -> timedelta | None:
        """How far it is safe to go from this wall time: to the next minute or day to look at."""
        if not self._day_matches(wall.date()):
            found = self._next_day(wall.date())
            if found is None:
                return None
            # Two days short of it: wherever clocks are set on the way, its midnight is ahead.
            near = max(found - 2 * DAY, wall.date() + DAY)
            return datetime.combine(near, time()) - wall
        rest = [minute for minute in self.minute if minute > wall.minute]
        minutes = (min(rest) if rest else 60) - wall.minute
        return timedelta(minutes=minutes, seconds=-wall.second)

    # --- dates ------------------------------------------------------------------------------------

    def _matches(self, wall: datetime) -> bool:
        return wall.minute in self.minute and self._day_matches(wall.date())

    def _day_matches(self, day: date) -> bool:
        return (
            day.month in self.month_of_year
            and day.day in self.day_of_month
            and day.isoweekday() % 7 in self.day_of_week
        )

    def _next_day(self, day: date) -> date | None:
        """The first matching date from ``day`` on."""
        limit = day.year + SEARCHED_YEARS
        while day.year <= limit:
            if self._day_matches(day):
                return day
            if day.month in self.month_of_year:
                step = 1
            else:
                step = monthrange(day.year, day.month)[1] - day.day + 1
            try:
                day += timedelta(days=step)
            except OverflowError:
                return None
        return None

    def _possible(self) -> bool:
        return any(
            min(self.day_of_month) <= LONGEST_MONTHS.get(month, 31) for month in self.month_of_year
        )

    # --- as a value -------------------------------------------------------------------------------

    def as_cron(self) -> str:
        """Return the five fields in cron's order: minute, hour, day of month, month, weekday."""
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_month,
            self._orig_month_of_year,
            self._orig_day_of_week,
        )
        return " ".join(
            str(field) if isinstance(field, int | str) else ",".join(map(str, field))
            for field in fields
        )

    def as_dict(self) -> Mapping[str, Any]:
        document: dict[str, Any] = {"kind": "crontab", "cron": self.as_cron()}
        if self.zone is not None:
            document["tz"] = zone_name(self.zone)
        return document

    def __str__(self) -> str:
        return self.as_cron()

    def __repr__(self) -> str:
        zone = "" if self.zone is None else f" {self.zone}"
        return f"<crontab: {self.as_cron()}{zone} (m/h/dM/MY/d)>"

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_week,
            self._orig_day_of_month,
            self._orig_month_of_year,
        )
        return _again, (type(self), fields, self.zone)


def _again(cls: type[crontab], fields: tuple[Any, ...], zone: tzinfo | None) -> crontab:
    return cls(*fields, tz=zone) if zone is not None else cls(*fields)


def _kept(spec: FieldSpec) -> int | str | tuple[int | str, ...]:
    """What the user wrote, in a form that does not change and can be read twice."""
    if isinstance(spec, str):
        return spec.replace(" ", "")
    if isinstance(spec, int) or not isinstance(spec, Iterable):
        return spec  # where it is no number either, its field says so
    if isinstance(spec, set | frozenset):
        return tuple(sorted(spec, key=lambda each: (isinstance(each, str), each)))
    return tuple(spec)
