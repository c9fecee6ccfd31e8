"""A pool under test, and the books of what became of each assignment. Used by the pool suites."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from umbel.model.assignment import (
    Assignment,
    Began,
    Interrupt,
    PoolEvent,
    Returned,
)
from umbel.model.message import TaskMessage
from umbel.ports import Pool
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode

PATIENCE = 20.0


class PoolBench:
    """A pool under test, and the books of what became of each assignment.

    ``elsewhere``: tasks run beside the caller, not inside ``poll``. ``slots``: tasks at once.
    ``soft``: a soft interrupt reaches a sleeping task. ``in_order``: one slot that works in order.
    ``pids``: the executors that are up, where they are processes. ``attend``: how a pool that runs
    tasks inside ``poll`` lets somebody look around meanwhile.
    """

    def __init__(
        self,
        pool: Pool,
        home: Path,
        *,
        slots: int,
        elsewhere: bool = True,
        soft: bool = True,
        in_order: bool = False,
        pids: Callable[[], Sequence[int]] | None = None,
        attend: Callable[[Callable[[], float | None]], None] | None = None,
    ) -> None:
        self.pool = pool
        self.home = home
        self.slots = slots
        self.elsewhere = elsewhere
        self.soft = soft
        self.in_order = in_order
        self.pids = pids
        self.attend = attend
        self.ends: dict[int, list[PoolEvent]] = {}
        self.began: set[int] = set()
        self.order: list[int] = []
        self._numbers = itertools.count(1)

    def assignment(self, task: str, *args: Any, **limits: float | None) -> Assignment:
        """Return one for a task of the suite's app."""
        number = next(self._numbers)
        message = TaskMessage(id=f"id-{number}", task=f"suite.{task}", args=args)
        raw = envelope.dump_compact(encode(message, serializer=SERIALIZERS.get("json")))
        return Assignment(number, raw, "celery", 1, False, limits.get("soft"), limits.get("hard"))

    def submit(self, *assignments: Assignment) -> list[int]:
        """Hand these over at once; the caller sees to the room."""
        for each in assignments:
            self.ends[each.id] = []
        self.pool.submit(assignments)
        return [each.id for each in assignments]

    def run(self, task: str, *args: Any) -> int:
        """Hand one over as soon as there is room."""
        self.until(lambda: self.pool.room() > 0)
        return self.submit(self.assignment(task, *args))[0]

    def until(self, holds: Callable[[], bool]) -> None:
        """Poll, and write down what is heard, until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"it did not happen; so far: {self.ends}"
            self.poll_once()

    def poll_once(self) -> None:
        """Poll for a moment and write down what is heard."""
        self._note(self.pool.poll(0.01))

    def _note(self, events: Sequence[PoolEvent]) -> None:
        for event in events:
            if isinstance(event, Began):
                self.began.add(event.id)
                continue
            ids = event.ids if isinstance(event, Returned) else (event.id,)
            for each in ids:
                self.ends[each].append(event)
                self.order.append(each)

    def until_ended(self, *ids: int) -> list[PoolEvent]:
        """Poll until each of these has ended; return how."""
        self.until(lambda: all(self.ends[each] for each in ids))
        return [self.ends[each][0] for each in ids]

    def measured(self) -> None:
        """Run some short tasks, so that the pool knows that it may look ahead."""
        for _ in range(3 * self.slots):
            self.until_ended(self.run("echo", 1))

    def blocked(self, count: int | None = None) -> list[tuple[int, Path]]:
        """Have slots run a task each that waits for its gate; return once they have begun."""
        gates = []
        for number in range(self.slots if count is None else count):
            gate = self.home / f"gate-{next(self._numbers)}-{number}"
            gates.append((self.run("wait_for", str(gate)), gate))
        for _, gate in gates:
            self.until(Path(f"{gate}.began").exists)
        return gates

    def settle_down(self) -> None:
        """Poll a little more: nothing may come twice."""
        for _ in range(3):
            self._note(self.pool.poll(0.01))
        assert all(len(each) <= 1 for each in self.ends.values()), self.ends

    def meanwhile(self, task: str, act: Callable[[int], object], *more: Any) -> PoolEvent:
        """Have a task run, ``act`` on it once it has begun, and return how it ended.

        The task's first argument is a path: it makes ``path.began`` when it begins.
        """
        path = self.home / f"run-{next(self._numbers)}"
        began = Path(f"{path}.began")
        self.until(lambda: self.pool.room() > 0)
        assignment = self.assignment(task, str(path), *more)
        if self.attend is None:
            (number,) = self.submit(assignment)
            self.until(began.exists)
            act(number)
            return self.until_ended(number)[0]
        acted: list[int] = []

        def glance() -> float | None:
            if began.exists() and not acted:
                acted.append(assignment.id)
                act(assignment.id)
            return None

        def ring() -> None:
            while not began.exists():
                time.sleep(0.005)
            self.pool.wake()

        self.attend(glance)
        ringer = threading.Thread(target=ring, daemon=True)
        ringer.start()
        (number,) = self.submit(assignment)
        end = self.until_ended(number)[0]
        ringer.join()
        return end

    def interrupted(self, task: str, how: Interrupt, reason: str, *more: Any) -> PoolEvent:
        """Have a task run, interrupt it once it has begun, and return how it ended."""

        def act(number: int) -> None:
            assert self.pool.interrupt(number, how, reason)

        return self.meanwhile(task, act, *more)
