"""How the worker is: what its main thread sees of itself, and the rules of live and ready.

The health server's threads ask; the main thread answers between two looks around, so that nothing
that it owns is read by others. Whether it answers is half of the question.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from umbel.clock import Clock
from umbel.model.pool_condition import PoolCondition
from umbel.ports import Pool
from umbel.worker.intake import Intake
from umbel.worker.plan import WorkerPlan
from umbel.worker.progress import Stillness
from umbel.worker.shutdown import Phase
from umbel.worker.supervisor import Supervisor

MAIN_LIMIT = 15.0
"""Seconds the main thread may leave a question unanswered: it never waits for the network."""
INTAKE_LIMIT = 60.0
"""Seconds the intake thread may take over one step, where ``worker_stall_timeout`` is off."""
LONGEST_GAP = 30.0
"""Seconds between two questions that count at most: a worker may have been frozen between them."""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What the main thread saw. ``held``: claims here by their step."""

    phase: Phase
    pool: PoolCondition
    held: Mapping[str, int]
    processed: Mapping[str, int]
    slots: int
    pids: tuple[int, ...]


class Vitals:
    """Asks the main thread, and watches the intake. Any thread, except ``_see``."""

    def __init__(
        self,
        supervisor: Supervisor,
        pool: Pool,
        intake: Intake,
        clock: Clock,
        *,
        plan: WorkerPlan,
    ) -> None:
        self._supervisor = supervisor
        self._pool = pool
        self._intake = intake
        self._clock = clock
        patience = INTAKE_LIMIT if plan.stall_timeout is None else plan.stall_timeout
        self._intake_limit = max(patience, 2 * plan.renewal)
        # A solo worker's main thread runs the tasks, and answers when they let it.
        self._main_limit = math.inf if plan.pool == "solo" else MAIN_LIMIT
        self._lock = threading.Lock()
        self._sight: Sight | None = None
        self._asked: threading.Event | None = None
        self._answers = 0
        self._main = Stillness(LONGEST_GAP)
        self._steps = Stillness(LONGEST_GAP)

    def sight(self, timeout: float) -> Sight | None:
        """Return what the main thread sees, or saw last if it does not answer in time (seconds).

        None until it has answered once.
        """
        self._ask().wait(timeout)
        with self._lock:
            return self._sight

    def _ask(self) -> threading.Event:
        with self._lock:
            asked = self._asked
            if asked is not None:
                return asked
            asked = self._asked = threading.Event()
        self._supervisor.call_soon(self._see)
        return asked

    def _see(self) -> None:
        """On the main thread."""
        supervisor, pool = self._supervisor, self._pool
        sight = Sight(
            phase=supervisor.phase,
            pool=pool.condition(),
            held=Counter(entry.step.name.lower() for entry in supervisor.ledger),
            processed=dict(supervisor.processed),
            slots=supervisor.slots,
            pids=tuple(pool.pids()),
        )
        with self._lock:
            self._sight = sight
            self._answers += 1
            asked, self._asked = self._asked, None
        if asked is not None:
            asked.set()

    @property
    def connected(self) -> bool:
        """Whether the intake has its connection to the broker."""
        return self._intake.connected.is_set()

    def not_live(self) -> Sequence[str]:
        """Why the worker should be killed and started anew; nothing where it should not.

        Waits for nobody: it judges the question that was asked the time before.
        """
        with self._lock:
            now = self._clock.monotonic()
            main = self._main.look(now, self._answers)
            steps = self._steps.look(now, self._intake.steps)
        self._ask()
        return live_rules(main, steps, self._main_limit, self._intake_limit)

    def not_ready(self, timeout: float) -> Sequence[str]:
        """Why the worker takes no tasks now; nothing where it does. Waits up to ``timeout`` s."""
        sight = self.sight(timeout)
        return [*self.not_live(), *ready_rules(sight, self.connected)]


def live_rules(main: float, intake: float, main_limit: float, intake_limit: float) -> Sequence[str]:
    """Judge for how many seconds the two threads have not moved. Pure."""
    reasons: list[str] = []
    if main > main_limit:
        reasons.append(f"the main loop has not answered for {main:.0f} s")
    if intake > intake_limit:
        reasons.append(f"a call to the broker has not returned for {intake:.0f} s")
    return reasons


def ready_rules(sight: Sight | None, connected: bool) -> Sequence[str]:
    """Judge what was seen. Pure."""
    rules: Sequence[tuple[bool, str]] = ((not connected, "not connected to the broker"),)
    if sight is None:
        return [*_broken(rules), "the worker is starting"]
    pool = sight.pool
    rules = (
        *rules,
        (sight.phase is not Phase.WORKING, "the worker is shutting down"),
        (not pool.startable, "no executor can be started any more"),
        (pool.ready == 0, f"no executor is ready (of {pool.wanted})"),
    )
    return _broken(rules)


def _broken(rules: Sequence[tuple[bool, str]]) -> list[str]:
    return [reason for broken, reason in rules if broken]
