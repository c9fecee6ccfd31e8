"""A worker that changes its own size: between two bounds, by what waits for it.

``--autoscale MAX,MIN``. Made by ``bus_station`` or ``wiring``; the supervisor lets it look once a
second, on its main thread. ``wanted`` decides, and is pure; the store is asked by ``intake``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import msgspec

from umbel.clock import Clock
from umbel.errors import UsageError
from umbel.model.assignment import Report
from umbel.ports import Pool
from umbel.worker.ledger import Entry
from umbel.worker.observing import Ending

logger = logging.getLogger("umbel.worker")

WEIGHT = 0.2
"""What the last run counts for in the average."""


class Bounds(msgspec.Struct, frozen=True):
    """Slots: never more than ``most``, never fewer than ``least``."""

    most: int
    least: int


class Demand(msgspec.Struct, frozen=True):
    """``held``: tasks that are here. ``backlog``: that wait in the queues, as far as is known.
    ``mean``: seconds a run takes, None where none has ended yet."""

    held: int
    backlog: int
    mean: float | None


def checked_bounds(most: object, least: object) -> Bounds:
    """Return both in their order, whichever was given first. Raises UsageError."""
    try:
        numbers = sorted((int(str(most)), int(str(least or 0))))
    except ValueError:
        numbers = [-1, -1]
    if numbers[0] < 0 or numbers[1] < 1:
        raise UsageError(
            f"autoscale is {most},{least}: say the most and the fewest tasks at once, such as 10,3"
        )
    return Bounds(numbers[1], max(1, numbers[0]))


def wanted(demand: Demand, bounds: Bounds, target: float | None) -> int:
    """Return how many slots this demand asks for.

    With ``target``, as many as let the last of what waits begin within so many seconds; without,
    one for each task that is here or waits.
    """
    slots = demand.held + demand.backlog
    if target is not None and demand.mean is not None:
        slots = math.ceil(demand.backlog * demand.mean / target) + min(demand.held, 1)
    return min(bounds.most, max(bounds.least, slots))


class Autoscaler:
    """Grows at once, shrinks when fewer were enough for ``keepalive`` seconds. Main thread only."""

    def __init__(
        self,
        pool: Pool,
        bounds: Bounds,
        *,
        processes: int,
        slots: int,
        target: float | None,
        keepalive: float,
        clock: Clock,
        held: Callable[[], int],
        backlog: Callable[[], int],
        resized: Callable[[int], None],
    ) -> None:
        """``processes`` there are now, of ``slots`` each. ``resized`` is told how many slots there
        will be."""
        self._pool = pool
        self.bounds = bounds
        self._processes = processes
        self._slots = slots
        self._target = target
        self._keepalive = keepalive
        self._clock = clock
        self._held = held
        self._backlog = backlog
        self._resized = resized
        self._mean: float | None = None
        self._needed = 0
        """The most that was wanted since ``_since``."""
        self._since = clock.monotonic()

    @property
    def current(self) -> int:
        """Slots there are, or will be in a moment."""
        return self._processes * self._slots

    def settled(self, _entry: Entry, told: Ending) -> None:
        """A run ended: learn how long they take."""
        if isinstance(told, Report):
            old = self._mean
            self._mean = told.seconds if old is None else old + WEIGHT * (told.seconds - old)

    def change(self, most: object, least: object) -> Bounds:
        """Have other bounds from now on, and keep them. Raises UsageError."""
        given = (
            self.bounds.most if most is None else most,
            self.bounds.least if least is None else least,
        )
        self.bounds = checked_bounds(*given)
        if not self.bounds.least <= self.current <= self.bounds.most:
            self._resize(min(self.bounds.most, max(self.bounds.least, self.current)))
        return self.bounds

    def look(self) -> None:
        """Grow or shrink, where it is time to."""
        demand = Demand(self._held(), self._backlog(), self._mean)
        now, want = self._clock.monotonic(), wanted(demand, self.bounds, self._target)
        if want > self.current:
            logger.info("Scaling up to %d slots: %d tasks wait", want, demand.backlog)
            self._resize(want)
        self._needed = max(self._needed, want)
        if now - self._since >= self._keepalive:
            if self._needed < self.current:
                logger.info("Scaling down to %d slots: fewer were enough", self._needed)
                self._resize(self._needed)
            self._since, self._needed = now, want

    def _resize(self, slots: int) -> None:
        processes = max(1, -(-slots // self._slots))
        if processes != self._processes:
            self._processes = self._pool.resize(processes - self._processes)
            self._resized(self.current)
        self._since, self._needed = self._clock.monotonic(), 0
