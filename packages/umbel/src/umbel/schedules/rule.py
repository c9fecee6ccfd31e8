"""What every schedule offers: the rule itself, and the questions Celery's schedulers ask.

``Schedule.next_after`` is the whole of a rule. ``BaseSchedule`` adds what schedulers written for
Celery call (``is_due``, ``remaining_estimate``, ``now``), answered from the rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from umbel.errors import UsageError

CELERY_LATEST = 300.0
"""Seconds after which a scheduler asks again where there is no next moment."""


class Schedule(ABC):
    """A rule that says when. A value: no clock, no state; any thread may use it."""

    zone: tzinfo | None = None
    """The zone of its own in which it reads wall times, if it has one."""

    @abstractmethod
    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """Return the first time strictly after ``moment``, aware, in UTC; None when there is none.

        ``zone`` is where wall times are read, unless the schedule has a zone of its own.
        """

    def last_until(self, first: datetime, moment: datetime, zone: tzinfo = UTC) -> datetime:
        """Return the latest of the times from ``first`` (one of them) up to ``moment``."""
        latest = first
        while (following := self.next_after(latest, zone)) is not None and following <= moment:
            latest = following
        return latest

    @abstractmethod
    def as_dict(self) -> Mapping[str, Any]:
        """Return the rule as plain values, with its ``kind``; ``from_dict`` reads it back."""


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether it is due, and in how many seconds to ask again."""

    is_due: bool
    next: float


class BaseSchedule(Schedule):
    """A rule with the methods that Celery's schedulers call.

    ``nowfun`` gives the present (aware, or naive in the zone); ``app`` is asked for its
    ``timezone``. Both may be left out: then it is the machine's clock, and UTC.
    """

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    @property
    def app(self) -> Any:
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def tz(self) -> tzinfo:
        """The zone in which wall times are read."""
        zone = getattr(self._app, "timezone", None)
        return zone_of(zone) if zone is not None else UTC

    def now(self) -> datetime:
        """Return the present."""
        return self.nowfun() if self.nowfun is not None else datetime.now(UTC)

    def maybe_make_aware(self, moment: datetime, naive_as_utc: bool = True) -> datetime:
        """Return ``moment`` with a zone; a naive one is UTC, or else in the schedule's zone."""
        if moment.tzinfo is not None:
            return moment
        return moment.replace(tzinfo=UTC if naive_as_utc else self.tz)

    def to_local(self, moment: datetime) -> datetime:
        """Return the same moment in the schedule's zone."""
        return self.maybe_make_aware(moment).astimezone(self.tz)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return how long until it is due, when it ran last at ``last_run_at``; may be negative."""
        due = self.next_after(self.maybe_make_aware(last_run_at), self.tz)
        if due is None:
            return timedelta(seconds=CELERY_LATEST)
        return due - self._aware_now()

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether it is due, and in how many seconds to ask again."""
        due = self.next_after(self.maybe_make_aware(last_run_at), self.tz)
        if due is None:
            return schedstate(False, CELERY_LATEST)
        now = self._aware_now()
        if due > now:
            return schedstate(False, (due - now).total_seconds())
        following = self.next_after(now, self.tz)
        wait = CELERY_LATEST if following is None else (following - now).total_seconds()
        return schedstate(True, wait)

    def _aware_now(self) -> datetime:
        return self.maybe_make_aware(self.now(), naive_as_utc=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(repr(sorted(self.as_dict().items(), key=str)))


def zone_of(zone: tzinfo | str) -> tzinfo:
    """Return the zone of that name, such as ``Europe/Berlin``. Raises UsageError."""
    if isinstance(zone, tzinfo):
        return zone
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"there is no time zone {zone!r}; names look like Europe/Berlin or UTC"
        ) from None


def zone_name(zone: tzinfo) -> str:
    """Return the name by which ``zone_of`` finds this zone. Raises UsageError for one without."""
    key = getattr(zone, "key", None)
    if isinstance(key, str):
        return key
    if zone is UTC:
        return "UTC"
    raise UsageError(f"the time zone {zone!r} has no name to remember it by; use zoneinfo.ZoneInfo")


def aware(moment: datetime, what: str) -> datetime:
    """Return ``moment`` in UTC; raise UsageError, naming ``what``, where it has no zone."""
    if moment.tzinfo is None:
        raise UsageError(f"{what} {moment.isoformat()} has no time zone; make it aware")
    return moment.astimezone(UTC)
