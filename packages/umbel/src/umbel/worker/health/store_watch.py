"""What the store tells for the metrics, read at most every few seconds and never waited for long.

The scrape that finds the last reading too old has a thread read anew; while that hangs, because the
broker does, nobody starts another, and scrapes go without.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from umbel.clock import Clock
from umbel.model.queues import QueueStats
from umbel.model.schedule_entry import Scheduled, ScheduleEntry
from umbel.ports import Broker, ScheduleStore

logger = logging.getLogger("umbel.worker")

FRESH = 5.0
"""Seconds for which a reading is good."""
OLDEST = 60.0
"""Seconds after which a reading is shown no more: the store has been away."""


class StoreReading(msgspec.Struct, frozen=True, kw_only=True):
    """``at``: monotonic seconds; ``now``: aware. ``entries`` None: no schedule is kept."""

    at: float
    now: datetime
    queues: Sequence[QueueStats]
    entries: Sequence[ScheduleEntry] | None


def schedule_lag(entries: Sequence[ScheduleEntry], now: datetime) -> float:
    """Return by how many seconds the entry that is most behind is behind; 0 for none. Pure."""
    behind = [
        (now - entry.next_due).total_seconds() - entry.jitter
        for entry in entries
        if entry.next_due is not None and not entry.paused
    ]
    return max([0.0, *behind])


def read_store(
    broker: Broker, schedule: ScheduleStore | None, queues: Sequence[str], clock: Clock
) -> StoreReading:
    """Read it. Raises OperationalError."""
    stats = broker.stats(queues)
    found: Mapping[str, Scheduled] | None = None if schedule is None else schedule.entries()
    return StoreReading(
        at=clock.monotonic(),
        now=clock.now(),
        queues=stats,
        entries=None if found is None else [each.entry for each in found.values()],
    )


class StoreWatch:
    """Keeps the last reading. Any thread."""

    def __init__(self, read: Callable[[], StoreReading], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._last: StoreReading | None = None
        self._under_way: threading.Event | None = None

    def reading(self, timeout: float) -> StoreReading | None:
        """Return what the store tells; None when it has told nothing for long."""
        with self._lock:
            last, under_way = self._last, self._under_way
            if last is not None and self._clock.monotonic() - last.at < FRESH:
                return last
            if under_way is None:
                under_way = self._under_way = threading.Event()
                threading.Thread(
                    target=self._read_anew, args=(under_way,), name="umbel-metrics", daemon=True
                ).start()
        under_way.wait(timeout)
        with self._lock:
            last = self._last
            too_old = last is None or self._clock.monotonic() - last.at > OLDEST
            return None if too_old else last

    def _read_anew(self, done: threading.Event) -> None:
        reading: StoreReading | None = None
        try:
            reading = self._read()
        except Exception as error:  # noqa: BLE001 - the metrics go without; the intake tells of it
            logger.debug("The store cannot be read for the metrics: %s", error)
        with self._lock:
            self._last = reading or self._last
            self._under_way = None
        done.set()
