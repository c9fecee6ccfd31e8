"""Everything in this process's memory: for tests, for the eager first steps, for one process.

Called through ``drivers.opening``; tests make a ``MemoryDriver`` of their own with a manual clock.
Nothing here outlives the process, and no second process sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.clock import Clock, SystemClock
from umbel.drivers.memory.broker import MemoryBroker
from umbel.drivers.memory.bus import MemoryBus
from umbel.drivers.memory.result_backend import MemoryResultBackend
from umbel.drivers.memory.schedule_store import MemoryScheduleStore
from umbel.drivers.memory.store import MemoryStore
from umbel.errors import ImproperlyConfigured
from umbel.ports import Driver


class MemoryDriver(Driver):
    """One store with the two ports on it, and a bus."""

    def __init__(self, clock: Clock | None = None) -> None:
        store = MemoryStore(clock if clock is not None else SystemClock())
        self._broker = MemoryBroker(store)
        self._backend = MemoryResultBackend(store)
        self._bus = MemoryBus()
        self._timetables: dict[str, MemoryScheduleStore] = {}
        self._store = store

    def broker(self) -> MemoryBroker:
        return self._broker

    def result_backend(self) -> MemoryResultBackend:
        return self._backend

    def bus(self) -> MemoryBus:
        return self._bus

    def schedule_store(self, timetable: str) -> MemoryScheduleStore:
        with self._store.lock:
            known = self._timetables.get(timetable)
            if known is None:
                known = self._timetables[timetable] = MemoryScheduleStore(self._store)
            return known


def open(url: str, options: Mapping[str, Any]) -> MemoryDriver:  # noqa: A001 - opening.py's word
    """Return a new store. ``memory://one`` and ``memory://two`` are different ones.

    Raises ImproperlyConfigured for options: there are none.
    """
    if options:
        names = ", ".join(sorted(options))
        raise ImproperlyConfigured(f"memory:// takes no transport options, but was given: {names}")
    if "?" in url:
        raise ImproperlyConfigured("memory:// takes no options after a question mark")
    return MemoryDriver()
