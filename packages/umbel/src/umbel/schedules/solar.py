"""``solar``: sunrise, sunset, noon and the twilights of a place on Earth.

The astronomy is that of the library ``ephem``, the one Celery asks as well, so both come to the
same instants. It is imported when a solar schedule is first asked (extra ``solar``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec

from umbel.errors import ImproperlyConfigured, UsageError
from umbel.schedules.rule import BaseSchedule

SEARCHED_DAYS = 366
"""Days without the event (polar night) after which there is none."""
SECOND = timedelta(seconds=1)


class _Event(msgspec.Struct, frozen=True):
    """How to ask for one event: which way the sun crosses which height over the horizon."""

    crossing: str
    horizon: str = "0"
    center: bool = False


EVENTS: Mapping[str, _Event] = {
    "dawn_astronomical": _Event("next_rising", "-18", True),
    "dawn_nautical": _Event("next_rising", "-12", True),
    "dawn_civil": _Event("next_rising", "-6", True),
    "sunrise": _Event("next_rising", "-0:34"),
    "solar_noon": _Event("next_transit"),
    "sunset": _Event("next_setting", "-0:34"),
    "dusk_civil": _Event("next_setting", "-6", True),
    "dusk_nautical": _Event("next_setting", "-12", True),
    "dusk_astronomical": _Event("next_setting", "-18", True),
}


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """Run at ``event`` (one of ``EVENTS``) at latitude ``lat`` and longitude ``lon``, in degrees.

    North and east are positive. Days on which the event does not happen are passed over. Raises
    UsageError for another event or a place that is none, ImproperlyConfigured without ``ephem``.
    """

    events: tuple[str, ...] = tuple(EVENTS)
    """The names of the events there are."""

    def __init__(
        self,
        event: str,
        lat: float,
        lon: float,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun, app)
        if event not in EVENTS:
            raise UsageError(f"there is no solar event {event!r}; events are {', '.join(EVENTS)}")
        if not -90 <= lat <= 90:
            raise UsageError(f"the latitude {lat} is not within -90 and 90 degrees")
        if not -180 <= lon <= 180:
            raise UsageError(f"the longitude {lon} is not within -180 and 180 degrees")
        self.event, self.lat, self.lon = event, lat, lon

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:  # noqa: ARG002
        ephem = _ephem()
        rule = EVENTS[self.event]
        place = ephem.Observer()
        place.lat, place.lon = str(self.lat), str(self.lon)
        place.elevation, place.pressure = 0, 0
        place.horizon = rule.horizon
        words = {"use_center": True} if rule.center else {}
        start = begin = moment.astimezone(UTC)
        while begin - start <= timedelta(days=SEARCHED_DAYS):
            place.date = begin.replace(tzinfo=None)
            try:
                found = getattr(place, rule.crossing)(ephem.Sun(), **words)
            except ephem.CircumpolarError:  # the sun stays above or below it that day
                begin += timedelta(days=1)
                continue
            due: datetime = found.datetime().replace(tzinfo=UTC)
            # The search may find again the crossing that we stand on, a fraction of a second off.
            if due - start > SECOND:
                return due
            begin += timedelta(hours=1)
        return None

    def as_dict(self) -> Mapping[str, Any]:
        return {"kind": "solar", "event": self.event, "lat": self.lat, "lon": self.lon}

    def __str__(self) -> str:
        return f"{self.event} at {self.lat}, {self.lon}"

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.event, self.lat, self.lon)


def _ephem() -> Any:
    try:
        import ephem  # noqa: PLC0415 - only who asks for the sun pays for it
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(
            "solar schedules need the Python package 'ephem', which is not installed; "
            "run: pip install 'umbel[solar]'"
        ) from error
    return ephem
