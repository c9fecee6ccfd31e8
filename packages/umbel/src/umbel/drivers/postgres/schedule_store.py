"""The timetables of the PostgreSQL driver: a row for each entry, beside the tables of the queues.

``open`` in this package makes stores. A call is one transaction and one round trip: who changes a
timetable holds its lock until the end, and what a change sends is inserted by its own statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from umbel.drivers.postgres import packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import BROKER, Connection, ConnectionPool, Step
from umbel.model.schedule_entry import ScheduleChange, Scheduled, ScheduleEntry
from umbel.ports import ScheduleStore

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(ScheduleEntry).decode


class PostgresScheduleStore(ScheduleStore):
    """One timetable. Thread-safe."""

    def __init__(self, address: Address, timetable: str) -> None:
        self._timetable = packing.text_of(timetable, "a timetable's name")
        self._bells = Bells(address.schema)
        self._pool = ConnectionPool(address, BROKER)

    def entries(self) -> Mapping[str, Scheduled]:
        with self._pool.lend() as connection:
            rows = connection.one("schedule_entries", timetable=self._timetable)
        return {name: Scheduled(_read(entry), revision) for name, revision, entry in rows}

    def change(self, changes: Sequence[ScheduleChange]) -> Sequence[bool]:
        if not changes:
            return ()
        queues = [sent.queue.name for each in changes for sent in each.outgoing]
        with self._pool.lend() as connection:
            steps = [connection.step("in_turn", key=self._bells.timetable(self._timetable))]
            steps += [self._step(connection, each) for each in changes]
            rows = connection.run(steps, rings=self._bells.of_queues(queues))
        return [bool(some) for some in rows[1:]]

    def _step(self, connection: Connection, change: ScheduleChange) -> Step:
        arrays, _ = packing.messages(change.outgoing)
        return connection.step(
            "change_entry",
            timetable=self._timetable,
            name=packing.text_of(change.name, "the name of an entry"),
            revision=change.revision,
            entry=None if change.entry is None else _write(change.entry),
            **{f"o_{name}": values for name, values in arrays.items()},
        )

    def version(self) -> int:
        with self._pool.lend() as connection:
            rows = connection.one("schedule_version", timetable=self._timetable)
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        self._pool.close()
