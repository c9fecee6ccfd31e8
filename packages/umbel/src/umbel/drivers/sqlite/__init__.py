"""One SQLite file: queues, claims, results, for several processes of one machine. No server.

Called through ``drivers.opening``; tests make a ``SqliteDriver`` of their own with a manual clock.
What it promises, its tables and how its processes wake each other:
docs/design/0004-how-sqlite-processes-wake-each-other.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.clock import Clock, SystemClock
from umbel.drivers.sqlite.broker import SqliteBroker
from umbel.drivers.sqlite.bus import SqliteBus
from umbel.drivers.sqlite.location import Location, parse_location
from umbel.drivers.sqlite.result_backend import SqliteResultBackend
from umbel.drivers.sqlite.schedule_store import SqliteScheduleStore
from umbel.ports import Driver


class SqliteDriver(Driver):
    """Both ports and the bus on one file. Opens nothing before it is used."""

    def __init__(self, location: Location, clock: Clock | None = None) -> None:
        chosen = clock if clock is not None else SystemClock()
        self._broker = SqliteBroker(location, chosen)
        self._backend = SqliteResultBackend(location, chosen)
        self._bus = SqliteBus(location, chosen)
        self._location, self._clock = location, chosen

    def broker(self) -> SqliteBroker:
        return self._broker

    def result_backend(self) -> SqliteResultBackend:
        return self._backend

    def bus(self) -> SqliteBus:
        return self._bus

    def schedule_store(self, timetable: str) -> SqliteScheduleStore:
        return SqliteScheduleStore(self._location, self._clock, timetable)


def open(url: str, options: Mapping[str, Any]) -> SqliteDriver:  # noqa: A001 - opening.py's word
    """Return the driver for the file that ``url`` names. Raises ImproperlyConfigured."""
    return SqliteDriver(parse_location(url, options))
