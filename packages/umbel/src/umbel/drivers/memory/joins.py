"""The joins of one memory driver: parts of chords' headers, counted until none is missing.

Called by ``store.py`` (a settlement's steps) and ``result_backend.py``, under the store's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from umbel.model.join import (
    CLOSED_FOR,
    CloseJoin,
    FillSlot,
    GrowJoin,
    JoinParts,
    JoinStep,
    OpenJoin,
)
from umbel.model.queues import FollowUp

SWEEP_EVERY = 1024
"""Expired joins are dropped once in so many steps, so that the cost of one stays constant."""


class _Join(msgspec.Struct):
    size: int | None = None
    grown: int = 0
    parts: dict[tuple[str, int | None], bytes] = {}
    until: float | None = None
    closed: bool = False

    def complete(self) -> bool:
        wanted = None if self.size is None else self.size + self.grown
        return not self.closed and wanted is not None and len(self.parts) >= wanted


class MemoryJoins:
    """Joins with their expiry. Not thread-safe: the store's lock is held around every call."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._joins: dict[str, _Join] = {}
        self._until_sweep = SWEEP_EVERY

    def perform(self, steps: Sequence[JoinStep], *, again: bool) -> list[FollowUp]:
        """Perform these; return what follows.

        ``again``: also what follows a join that was complete before, while it is not closed.
        """
        now = self._now()
        self._sweep(now, len(steps))
        due: list[FollowUp] = []
        for step in steps:
            join = self._joins.get(step.join_id)
            if join is None or not _alive(join, now):
                join = self._joins[step.join_id] = _Join()
            match step:
                case OpenJoin(size=size, expires=expires):
                    join.size, join.closed = size, False
                    join.until = None if expires is None else now + expires
                case GrowJoin(by=by):
                    join.grown += by
                case FillSlot():
                    if self._fill(join, step) or (again and join.complete()):
                        due.append(step.then)
                case CloseJoin():
                    self._joins[step.join_id] = _Join(closed=True, until=now + CLOSED_FOR)
        return due

    def _fill(self, join: _Join, step: FillSlot) -> bool:
        """Fill the slot; True when it was the last one."""
        key = step.task_id, step.slot
        if join.closed or key in join.parts:
            return False
        was_complete = join.complete()
        join.parts[key] = step.part
        return join.complete() and not was_complete

    def fetch(self, join_id: str) -> JoinParts | None:
        """Return what is known of a join."""
        join = self._joins.get(join_id)
        if join is None or not _alive(join, self._now()):
            return None
        last = float("inf")
        places = sorted(join.parts, key=lambda key: last if key[1] is None else key[1])
        size = None if join.size is None else join.size + join.grown
        return JoinParts(size, tuple(join.parts[key] for key in places), join.closed)

    def _sweep(self, now: float, steps: int) -> None:
        self._until_sweep -= steps
        if self._until_sweep <= 0:
            self._until_sweep = max(SWEEP_EVERY, len(self._joins))
            self._joins = {key: join for key, join in self._joins.items() if _alive(join, now)}


def _alive(join: _Join, now: float) -> bool:
    return join.until is None or join.until > now
