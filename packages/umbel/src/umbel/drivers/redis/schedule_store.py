"""The timetables of the Redis driver: a hash of entries, changed by one script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from umbel.drivers.redis.address import Options
from umbel.drivers.redis.connection import BROKER, Argument
from umbel.drivers.redis.connection_pool import ConnectionPool
from umbel.drivers.redis.keys import Keys
from umbel.drivers.redis.publisher import Rendering, milliseconds
from umbel.drivers.redis.scripts import SCHEDULE
from umbel.model.schedule_entry import ScheduleChange, Scheduled, ScheduleEntry
from umbel.ports import ScheduleStore

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(ScheduleEntry).decode


class RedisScheduleStore(ScheduleStore):
    """One timetable. Thread-safe."""

    def __init__(self, options: Options, timetable: str) -> None:
        self._keys = Keys(options.keys)
        self._entries, self._version = self._keys.timetable(timetable)
        self._rendering = Rendering(self._keys)
        self._pool = ConnectionPool(options.address, BROKER)

    def entries(self) -> Mapping[str, Scheduled]:
        with self._pool.lend() as connection:
            kept = connection.call(("HGETALL", self._entries), self._pool.deadline())
        found: dict[str, Scheduled] = {}
        for name, value in kept.items():
            revision, _, document = value.partition(b":")
            found[name.decode()] = Scheduled(_read(document), int(revision))
        return found

    def change(self, changes: Sequence[ScheduleChange]) -> Sequence[bool]:
        made: list[bool] = []
        deadline = self._pool.deadline()
        with self._pool.lend() as connection:
            for each in changes:
                keys, arguments = self._packed(each)
                made.append(bool(SCHEDULE.run(connection, keys, arguments, deadline)))
        return made

    def _packed(self, change: ScheduleChange) -> tuple[list[bytes], list[Argument]]:
        keys = [self._entries, self._version]
        entry = b"" if change.entry is None else _write(change.entry)
        arguments: list[Argument] = [change.name, change.revision, entry]
        for each in change.outgoing:
            queue, index = self._keys.queue(each.queue.name), self._rendering.list_index(each)
            due = "" if each.due_at is None else milliseconds(each.due_at)
            keys += [queue.lists[index], queue.delayed, queue.alarm]
            arguments += [due, index, self._rendering.envelope(each)]
        return keys, arguments

    def version(self) -> int:
        with self._pool.lend() as connection:
            return int(connection.call(("GET", self._version), self._pool.deadline()) or 0)

    def close(self) -> None:
        self._pool.close()
