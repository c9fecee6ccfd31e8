"""A pool that dies when it is told to, around the ``solo`` pool. For ``sandbox``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from umbel.model.assignment import Assignment, Interrupt, PoolEvent, Report
from umbel.model.pool_condition import PoolCondition
from umbel.ports import Pool
from umbel.worker.pools.solo import SoloPool


class Died(BaseException):
    """The worker died here, as the test said."""


class MortalPool(Pool):
    """Passes everything on, until it is to die. One thread."""

    def __init__(self, inner: SoloPool, before: MortalPool | None = None) -> None:
        """``before``: the pool that died; what it was still to do is done by this one."""
        self._inner = inner
        self.dies: Literal["before", "after"] | None = None if before is None else before.dies
        self.heard: Callable[[PoolEvent], None] = lambda _: None

    def start(self) -> None:
        """Nothing: a test keeps its signals."""

    def capacity(self) -> int:
        return self._inner.capacity()

    def room(self) -> int:
        return self._inner.room()

    def submit(self, assignments: Sequence[Assignment]) -> None:
        if assignments and self.dies == "before":
            self.dies = None
            raise Died
        self._inner.submit(assignments)

    def poll(self, timeout: float) -> Sequence[PoolEvent]:
        events = self._inner.poll(timeout)
        for event in events:
            self.heard(event)
            if self.dies == "after" and isinstance(event, Report):
                self.dies = None
                raise Died
        return events

    def wake(self) -> None:
        self._inner.wake()

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:
        return self._inner.interrupt(assignment_id, how, reason)

    def running(self) -> Mapping[int, int]:
        return self._inner.running()

    def pids(self) -> Sequence[int]:
        return self._inner.pids()

    def condition(self) -> PoolCondition:
        return self._inner.condition()

    def resize(self, change: int) -> int:
        return self._inner.resize(change)

    def renew(self) -> None:
        self._inner.renew()

    def recall(self) -> None:
        self._inner.recall()

    def stop(self) -> None:
        self._inner.stop()

    def close(self) -> None:
        self._inner.close()
