"""``celery.utils.time``: durations, zones, rates."""

from __future__ import annotations

import random
import time as _clock
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from umbel.model.retrying import Backoff

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_RATES = {"s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS = (
    (86400.0, "day", "{:.2f}"),
    (3600.0, "hour", "{:.2f}"),
    (60.0, "minute", "{:.2f}"),
    (1.0, "second", "{:.2f}"),
)


class LocalTimezone(tzinfo):
    """The zone of this machine."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return self._there(dt).utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        in_summer = _clock.localtime(self._there(dt).timestamp()).tm_isdst > 0
        return timedelta(hours=1) if in_summer else timedelta()

    def tzname(self, dt: datetime | None) -> str | None:
        return self._there(dt).tzname()

    def _there(self, dt: datetime | None) -> datetime:
        return (dt or datetime.now(UTC)).replace(tzinfo=None).astimezone()

    def __repr__(self) -> str:
        return "<LocalTimezone>"


class _Zones:
    utc = UTC

    @property
    def local(self) -> tzinfo:
        """This machine's zone."""
        return LocalTimezone()

    def get_timezone(self, zone: str | tzinfo) -> tzinfo:
        """Return the zone of this name. Raises ZoneInfoNotFoundError."""
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    def tz_or_local(self, tzinfo: str | tzinfo | None = None) -> tzinfo:
        """Return the zone, this machine's where None is given."""
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: Any = None, orig: Any = None) -> datetime:
        """Return the moment in the local zone; a naive one is of ``orig``, or UTC."""
        aware = dt if dt.tzinfo is not None else dt.replace(tzinfo=orig or UTC)
        return aware.astimezone(self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        """Return the moment in this machine's zone."""
        return dt.astimezone(self.local)


timezone = _Zones()


def maybe_timedelta(delta: Any) -> Any:
    """Return seconds as a timedelta; anything else as it is."""
    return timedelta(seconds=delta) if isinstance(delta, int | float) else delta


def is_naive(dt: datetime) -> bool:
    """Tell whether a moment has no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """Return a naive moment as one of this zone."""
    return dt.replace(tzinfo=tz)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """Return an aware moment as it is; a naive one in ``tz``, of UTC unless that is denied."""
    if not is_naive(dt):
        return dt
    if naive_as_utc:
        dt = dt.replace(tzinfo=UTC)
        return dt if tz is None else dt.astimezone(tz)
    return dt.replace(tzinfo=tz or UTC)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """Return the moment in another zone; a naive one is of that zone."""
    return dt.replace(tzinfo=tz) if is_naive(dt) else dt.astimezone(tz)


def to_utc(dt: datetime) -> datetime:
    """Return the moment in UTC; a naive one is UTC."""
    return dt.replace(tzinfo=UTC) if is_naive(dt) else dt.astimezone(UTC)


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """Return ISO 8601 text as a moment; moments and None as they are."""
    return datetime.fromisoformat(dt) if isinstance(dt, str) else dt


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """Return the moment rounded down to the day, hour, minute or second of this duration."""
    seconds = max(delta.total_seconds(), 0)
    for floor, fields in (
        (86400, {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}),
        (3600, {"minute": 0, "second": 0, "microsecond": 0}),
        (60, {"second": 0, "microsecond": 0}),
    ):
        if seconds >= floor:
            return dt.replace(**fields)  # type: ignore[arg-type]  # names of its own fields
    return dt


def remaining(
    start: datetime, ends_in: timedelta, now: datetime | None = None, relative: bool = False
) -> timedelta:
    """Return how long it is from ``now`` until ``ends_in`` after ``start``; negative when over."""
    moment = now or datetime.now(UTC)
    if is_naive(start):
        start = start.replace(tzinfo=moment.tzinfo)
    end = start + ends_in
    if relative:
        end = delta_resolution(end, ends_in)
    return to_utc(end) - to_utc(moment)


def rate(r: str | float | None) -> float:
    """Return ``"100/m"`` as tasks a second; 0 for none. Raises KeyError for an unknown unit."""
    if not r:
        return 0.0
    if isinstance(r, int | float):
        return float(r)
    count, _, unit = r.partition("/")
    return float(count) / _RATES[unit or "s"]


def weekday(name: str) -> int:
    """Return the number of a day by its name, Sunday 0. Raises KeyError."""
    try:
        return WEEKDAYS.index(name[:3].lower())
    except ValueError:
        raise KeyError(name) from None


def humanize_seconds(
    secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False
) -> str:
    """Return a duration for people, such as ``2.50 hours``."""
    for divider, unit, form in _UNITS:
        if secs >= divider:
            value = form.format(secs / divider)
            return f"{prefix}{sep}{value} {unit}{'s' if float(value) != 1 else ''}"
    if microseconds and secs > 0.0:
        return f"{prefix}{sep}{secs:.2f} seconds"
    return now


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """Return the moment so many seconds later."""
    return dt + timedelta(seconds=seconds)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """Return how long it is from ``start`` to ``end``."""
    return to_utc(end) - to_utc(start)


def get_exponential_backoff_interval(
    factor: float, retries: int, maximum: float, full_jitter: bool = False
) -> int:
    """Return whole seconds to wait before this retry: factor, twice, four times ..., capped."""
    backoff = Backoff(factor=float(factor), maximum=float(maximum), jitter=full_jitter)
    return int(backoff.delay(retries, random.random))


def utcoffset() -> int:
    """Return how many hours this machine's zone is behind UTC."""
    offset = datetime.now(UTC).astimezone().utcoffset() or timedelta()
    return -int(offset.total_seconds() // 3600)


def adjust_timestamp(ts: float, offset: float, here: Callable[[], float] = utcoffset) -> float:
    """Return a timestamp of another zone as one of this."""
    return ts - (offset - here()) * 3600


__all__ = [
    "LocalTimezone",
    "add_seconds_to_datetime",
    "adjust_timestamp",
    "delta_resolution",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "subtract_datetimes",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
]
