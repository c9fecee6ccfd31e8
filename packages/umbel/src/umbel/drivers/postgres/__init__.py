"""PostgreSQL: broker, result backend, bus and timetables in one schema of one database.

``drivers.opening`` calls ``open``. Sessions are in ``connection``, every statement in
``sql/queries.sql``, the tables in ``sql/migrations``. How claims are kept, and why:
docs/design/0020-how-claims-are-kept-on-postgresql.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.drivers.postgres.address import Address, read
from umbel.drivers.postgres.broker import PostgresBroker
from umbel.drivers.postgres.bus import PostgresBus
from umbel.drivers.postgres.result_backend import PostgresResultBackend
from umbel.drivers.postgres.schedule_store import PostgresScheduleStore
from umbel.ports import Driver


class PostgresDriver(Driver):
    """Every port on one database."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._broker = PostgresBroker(address)
        self._result_backend = PostgresResultBackend(address)

    def broker(self) -> PostgresBroker:
        return self._broker

    def result_backend(self) -> PostgresResultBackend:
        return self._result_backend

    def bus(self) -> PostgresBus:
        return PostgresBus(self.address)

    def schedule_store(self, timetable: str) -> PostgresScheduleStore:
        return PostgresScheduleStore(self.address, timetable)


def open(url: str, options: Mapping[str, Any]) -> PostgresDriver:  # noqa: A001 - opening.py's word
    """Return the driver for ``url``; connects to nothing yet.

    Raises ImproperlyConfigured where the URL or an option is wrong.
    """
    return PostgresDriver(read(url, options))
