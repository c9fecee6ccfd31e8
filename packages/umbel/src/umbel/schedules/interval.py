"""``interval``: every so many seconds. Celery calls it ``schedule``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

from umbel.errors import UsageError
from umbel.schedules.rule import BaseSchedule
from umbel.schedules.wall import moment_of, wall_of

DAY = timedelta(days=1)


class interval(BaseSchedule):  # noqa: N801 - named as what it is in a schedule table
    """Run every ``run_every`` (seconds or a timedelta), counted from the time it was due last.

    ``relative``: rounded down to whole days, hours or minutes (the largest that fits), so that
    ``timedelta(hours=1)`` runs on the hour and ``timedelta(days=1)`` at midnight of the zone. Days
    are days of the wall clock, 23 or 25 hours long where clocks are set; hours are real ones.

    ``nowfun`` and ``app`` are there for schedulers written for Celery. Raises UsageError for an
    interval that is not positive.
    """

    def __init__(
        self,
        run_every: float | timedelta = 0,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun, app)
        self.run_every = _length(run_every)
        self.relative = relative

    @property
    def seconds(self) -> float:
        """The length of the interval in seconds."""
        return self.run_every.total_seconds()

    @property
    def human_seconds(self) -> str:
        """The length as a person says it, such as ``1 hour`` or ``90 seconds``."""
        for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
            count, rest = divmod(self.seconds, size)
            if count and not rest:
                return f"{count:g} {name}{'s' if count > 1 else ''}"
        return f"{self.seconds:g} second{'' if self.seconds == 1 else 's'}"

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        moment = moment.astimezone(UTC)
        try:
            due = moment + self.run_every
            return self._rounded(moment, due, zone) if self.relative else due
        except OverflowError:
            return None

    def last_until(self, first: datetime, moment: datetime, zone: tzinfo = UTC) -> datetime:
        if self.relative:
            return super().last_until(first, moment, zone)
        # An interval of a second may have been missed a million times.
        return first + max(0, (moment - first) // self.run_every) * self.run_every

    def _rounded(self, moment: datetime, due: datetime, zone: tzinfo) -> datetime:
        if self.run_every >= DAY:
            whole = timedelta(days=self.run_every // DAY)
            midnight = datetime.combine(wall_of(moment, zone).date() + whole, time())
            return moment_of(midnight, zone)
        size = 3600 if self.seconds >= 3600 else 60 if self.seconds >= 60 else 1
        wall = wall_of(due, zone)
        past = (wall.minute * 60 + wall.second) % size + wall.microsecond / 1e6
        rounded = due - timedelta(seconds=past)
        # Rounding down can undo the whole step where clocks were set by part of an hour.
        return rounded if rounded > moment else due

    def as_dict(self) -> Mapping[str, Any]:
        document: dict[str, Any] = {"kind": "interval", "seconds": self.seconds}
        if self.relative:
            document["relative"] = True
        return document

    def __str__(self) -> str:
        return f"every {self.human_seconds}"

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative)


def _length(run_every: float | timedelta) -> timedelta:
    if isinstance(run_every, timedelta):
        length = run_every
    elif type(run_every) in (int, float):
        try:
            length = timedelta(seconds=run_every)
        except (OverflowError, ValueError):
            raise UsageError(f"an interval of {run_every} seconds is no length of time") from None
    else:
        raise UsageError(f"an interval is seconds or a timedelta, not {run_every!r}")
    if length <= timedelta():
        raise UsageError(f"an interval of {length.total_seconds():g} seconds would never end")
    return length
