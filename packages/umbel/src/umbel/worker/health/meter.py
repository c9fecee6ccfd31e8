"""How long tasks run and wait, counted in buckets as they end.

The main thread counts: two searches and four additions a task, and only where somebody asked for
metrics. The server's threads read; a reading may miss the task that ends meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import msgspec

from umbel.clock import Clock
from umbel.model.assignment import Report
from umbel.worker.ledger import Entry
from umbel.worker.observing import Ending

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the buckets in seconds; one more has none."""
OTHERS = "(others)"
"""What the tasks are counted as whose names come after the first so many."""


class Histogram(msgspec.Struct):
    """One distribution of seconds. ``counts``: of each bucket alone."""

    counts: list[int]
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def copy(self) -> Histogram:
        """Return it as it is now. Any thread."""
        return Histogram(list(self.counts), self.total)


def new_histogram() -> Histogram:
    """Return an empty one."""
    return Histogram([0] * (len(BOUNDS) + 1))


class Meter:
    """The distributions of one worker. ``settled``: the main thread; ``runs``, ``waits``: any."""

    def __init__(self, clock: Clock, most_names: int) -> None:
        self._clock = clock
        self._most = most_names
        self._runs: dict[str, Histogram] = {}
        self._waits = new_histogram()

    def settled(self, entry: Entry, told: Ending) -> None:
        """A run ended: count it, if an executor has told how long it was."""
        if not isinstance(told, Report):
            return
        name = entry.peek.task
        runs = self._runs.get(name)
        if runs is None:
            runs = self._begin(name)
        runs.add(told.seconds)
        waited = self._clock.monotonic() - entry.waits_since - told.seconds
        self._waits.add(max(0.0, waited))

    def _begin(self, name: str) -> Histogram:
        if len(self._runs) >= self._most:
            name = OTHERS
        return self._runs.setdefault(name, new_histogram())

    @property
    def runs(self) -> Mapping[str, Histogram]:
        """How long the tasks of each name ran."""
        return {name: runs.copy() for name, runs in tuple(self._runs.items())}

    @property
    def waits(self) -> Histogram:
        """How long tasks waited here, from their claim until they began."""
        return self._waits.copy()
