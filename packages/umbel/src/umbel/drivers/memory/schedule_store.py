"""The timetables of the memory driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from umbel.drivers.memory.store import MemoryStore
from umbel.model.schedule_entry import ScheduleChange, Scheduled
from umbel.ports import ScheduleStore


class MemoryScheduleStore(ScheduleStore):
    """One timetable. Thread-safe."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._entries: dict[str, Scheduled] = {}
        self._version = 0

    def entries(self) -> Mapping[str, Scheduled]:
        with self._store.lock:
            return dict(self._entries)

    def change(self, changes: Sequence[ScheduleChange]) -> Sequence[bool]:
        return [self._change(each) for each in changes]

    def _change(self, change: ScheduleChange) -> bool:
        with self._store.lock:
            known = self._entries.get(change.name)
            if (known.revision if known is not None else 0) != change.revision:
                return False
            # The lock is one that this thread may take again.
            self._store.publish(change.outgoing)
            self._version += 1
            if change.entry is None:
                self._entries.pop(change.name, None)
            else:
                self._entries[change.name] = Scheduled(change.entry, self._version)
            return True

    def version(self) -> int:
        return self._version

    def close(self) -> None:
        """Nothing to let go of."""
