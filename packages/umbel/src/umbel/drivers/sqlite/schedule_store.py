"""The timetables of the SQLite driver: a row for each entry, in the file of the queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from umbel.clock import Clock
from umbel.drivers.sqlite import bells, messages
from umbel.drivers.sqlite.bells import Interest
from umbel.drivers.sqlite.connection import ConnectionPool, Database
from umbel.drivers.sqlite.location import Location
from umbel.drivers.sqlite.statements import SQL
from umbel.errors import BrokerUnavailable
from umbel.model.schedule_entry import ScheduleChange, Scheduled, ScheduleEntry
from umbel.ports import ScheduleStore

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(ScheduleEntry).decode


class SqliteScheduleStore(ScheduleStore):
    """One timetable. Thread-safe."""

    def __init__(self, location: Location, clock: Clock, timetable: str) -> None:
        self._location = location
        self._clock = clock
        self._timetable = timetable
        self._pool = ConnectionPool(location, BrokerUnavailable)

    def entries(self) -> Mapping[str, Scheduled]:
        with self._pool.reading() as database:
            rows = database.execute(SQL["schedule_entries"], (self._timetable,)).fetchall()
        return {name: Scheduled(_read(entry), revision) for name, revision, entry in rows}

    def change(self, changes: Sequence[ScheduleChange]) -> Sequence[bool]:
        if not changes:
            return ()
        rows = [messages.encode(each.outgoing) for each in changes]
        now = self._clock.now().timestamp()
        with self._pool.writing() as database:
            made = [
                self._change(database, each, sent, now)
                for each, sent in zip(changes, rows, strict=True)
            ]
        if any(done and sent for done, sent in zip(made, rows, strict=True)):
            bells.ring(self._location.path, Interest.MESSAGES)
        return made

    def _change(
        self, database: Database, change: ScheduleChange, sent: list[messages.Row], now: float
    ) -> bool:
        key = self._timetable, change.name
        row = database.execute(SQL["schedule_revision"], key).fetchone()
        if (row[0] if row is not None else 0) != change.revision:
            return False
        messages.add(database, sent, now)
        ((version,),) = database.execute(SQL["next_schedule_version"], key[:1]).fetchall()
        if change.entry is None:
            database.execute(SQL["drop_schedule_entry"], key)
        else:
            database.execute(SQL["put_schedule_entry"], (*key, version, _write(change.entry)))
        return True

    def version(self) -> int:
        with self._pool.reading() as database:
            row = database.execute(SQL["schedule_version"], (self._timetable,)).fetchone()
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        self._pool.close()
