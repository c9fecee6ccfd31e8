"""From what users write, and from what a store remembers, to a schedule.

Called by the scheduler, by the commands and by ``app.add_periodic_task``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from umbel.errors import UsageError
from umbel.schedules.crontab import crontab
from umbel.schedules.interval import interval
from umbel.schedules.once import once
from umbel.schedules.rule import Schedule
from umbel.schedules.solar import solar

_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Schedule]] = {
    "crontab": lambda d: crontab.from_string(d["cron"], tz=d.get("tz")),
    "interval": lambda d: interval(d["seconds"], d.get("relative", False)),
    "once": lambda d: once(datetime.fromisoformat(d["at"])),
    "solar": lambda d: solar(d["event"], d["lat"], d["lon"]),
}


def to_schedule(given: object, *, relative: bool = False) -> Schedule:
    """Return the schedule that a user means: seconds, a timedelta, a cron string or a schedule.

    Also an aware datetime (once) and what ``as_dict`` gave. ``relative`` is for intervals. Raises
    UsageError.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, timedelta | int | float) and not isinstance(given, bool):
        return interval(given, relative)
    if isinstance(given, str):
        return crontab.from_string(given)
    if isinstance(given, datetime):
        return once(given)
    if isinstance(given, Mapping):
        return from_dict(given)
    raise UsageError(
        f"{given!r} is no schedule; give seconds, a timedelta, crontab(...), solar(...),"
        " a cron string or a datetime"
    )


def from_dict(document: Mapping[str, Any]) -> Schedule:
    """Return the schedule whose ``as_dict`` this is. Raises UsageError."""
    kind = document.get("kind")
    make = _KINDS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise UsageError(f"no schedule has the kind {kind!r}; kinds are {', '.join(_KINDS)}")
    try:
        return make(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"a schedule of the kind {kind!r} does not look like {dict(document)!r}: {error!r}"
        ) from error


def maybe_schedule(given: object, relative: bool = False, app: Any = None) -> object:
    """Celery's: numbers and timedeltas become intervals, anything else stays what it is."""
    if isinstance(given, timedelta | int | float) and not isinstance(given, bool):
        return interval(given, relative, app=app)
    if app is not None and isinstance(given, Schedule):
        given.app = app  # type: ignore[attr-defined]
    return given
