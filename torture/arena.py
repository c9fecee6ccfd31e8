"""What is tortured: one store, some workers on it, each with a network line and a clock of its own.

``faults`` does things to it; ``running`` drives both. Main thread only.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.clocks import Clock, Clocks, make_clocks
from torture.journal import Journal
from torture.network import Line
from torture.planning import Setup
from torture.processes import PROGRAMS, Sender, Worker, memory
from torture.stores import STORES, Store

END_PATIENCE = 60.0
"""Seconds a worker may take to end after SIGTERM before that is a failure."""
MAX_DELIVERIES = 50
"""What is killed here is innocent, and may be unlucky more often than a poison task."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a worker; when one dies another takes it."""

    number: int
    line: Line | None
    clock: Clock | None
    worker: Worker
    started: float = 0.0
    disturbed: int = 0
    """How many faults work on it now."""
    expected: bool = False
    """Whether its worker is to end: it was told to, or killed."""


@dataclass(slots=True)
class Gone:
    """A worker that ended, and how."""

    worker: str
    status: int | None
    expected: bool
    killed: bool = False
    """It did not end in time when it was told to."""
    last_words: str = ""


@dataclass(slots=True)
class Samples:
    """Memory of one supervisor: (runs that ended there, resident bytes, own bytes)."""

    points: list[tuple[int, int, int]] = field(default_factory=list)


class Arena:
    """Opened for one run; ``close`` leaves nothing behind but ``home``."""

    def __init__(self, setup: Setup, home: Path, **settings: Any) -> None:
        """``settings``: of the app, besides those that the setup asks for."""
        self.setup = setup
        self.home = home
        self.journal = Journal(home / "journal")
        self.store: Store = STORES[setup.store](home)
        self._settings = settings
        self._clocks: Clocks | None = make_clocks(home)
        self.slots: list[Slot] = []
        self.gone: list[Gone] = []
        self.memory: dict[str, Samples] = {}
        self.store_disturbed = 0
        self._starts = itertools.count(1)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.client_line = self.store.line()
        self._python = _python(setup.peer)

    def able(self) -> frozenset[str]:
        """Return what faults may need and can have here."""
        found = set()
        found |= {"server"} if self.store.server else set()
        found |= {"disk"} if self.store.fillable else set()
        found |= {"clock"} if self._clocks is not None else set()
        found |= {"template"} if self.setup.peer == "umbel" else set()
        return frozenset(found)

    # --- processes --------------------------------------------------------------------------------

    def open(self) -> None:
        """Start every worker."""
        for number in range(self.setup.workers):
            line = self.store.line()
            clock = self._clocks.clock(str(number)) if self._clocks is not None else None
            slot = Slot(number, line, clock, self._start(number, line, clock), time.monotonic())
            self.slots.append(slot)

    def sender(self) -> Sender:
        """Start the client."""
        words = [self._python, str(PROGRAMS / "torture_sender.py")]
        return Sender(words, self._environment(self.client_line), self.home)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return once every worker is connected. Raises RuntimeError with the end of its log."""
        deadline = time.monotonic() + timeout
        for slot in self.slots:
            while not slot.worker.ready():
                if time.monotonic() > deadline or not slot.worker.alive():
                    raise RuntimeError(f"torture: no worker:\n{tail(slot.worker.log)}")
                time.sleep(0.05)

    def restart(self, slot: Slot) -> None:
        """Put a new worker where one has ended."""
        slot.worker = self._start(slot.number, slot.line, slot.clock)
        slot.started = time.monotonic()
        slot.expected = False

    def _start(self, number: int, line: Line | None, clock: Clock | None) -> Worker:
        setup = self.setup
        name = f"w{number}-{next(self._starts)}"
        words = [self._python, "-m", setup.peer]
        words += ["-A", "torture_app", "worker"] if setup.peer == "celery" else []
        words += ["worker", "-A", "torture_app"] if setup.peer == "umbel" else []
        words += ["-n", f"{name}@here", "-l", setup.log_level, "-P", setup.pool]
        words += ["-c", str(setup.concurrency)] if setup.pool != "solo" else []
        environment = self._environment(line)
        if clock is not None:
            environment |= clock.environment()
        return Worker(name, words, environment, self.home, template=setup.peer == "umbel")

    def _environment(self, line: Line | None) -> dict[str, str]:
        setup = self.setup
        url = self.store.url(line)
        settings: dict[str, Any] = {
            "task_acks_late": setup.at_least_once,
            "task_reject_on_worker_lost": setup.ack == "late-reject" or setup.peer == "umbel",
            **self._settings,
        }
        if setup.peer == "celery":
            # As with leases: what is not acknowledged goes back after this time.
            settings["broker_transport_options"] = {"visibility_timeout": 10 * setup.lease}
        else:
            settings |= {
                "worker_lease": setup.lease,
                "worker_lease_renewal": setup.lease / 3,
                "task_max_deliveries": MAX_DELIVERIES,
            }
            # As 5 s is to the usual lease of 15 s.
            option = self.store.patience_option
            url += f"?{option}={setup.lease / 3:.2f}" if option else ""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "TORTURE_PEER": setup.peer,
            "TORTURE_POOL": setup.pool,
            "TORTURE_URL": url,
            "TORTURE_SETTINGS": json.dumps(settings),
            "TORTURE_JOURNAL": str(self.journal.home),
        }

    # --- who can be hit ---------------------------------------------------------------------------

    def healthy(self) -> list[Slot]:
        """Return the slots whose worker is at work and undisturbed."""
        return [
            slot
            for slot in self.slots
            if not slot.disturbed and not slot.expected and slot.worker.ready()
        ]

    def busy_executors(self, slot: Slot) -> list[int]:
        """Return the executors of a worker that run something now."""
        self.journal.read()
        alive = slot.worker.executors()
        return [pid for pid in self.journal.busy(slot.worker.name) if pid in alive]

    # --- time -------------------------------------------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after so many seconds."""
        moment = time.monotonic() + seconds
        heapq.heappush(self._timers, (moment, next(self._serial), action))

    def run_timers(self) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    @property
    def pending(self) -> int:
        """How many things are still to be done: no fault is over while there are some."""
        return len(self._timers)

    def look_after_workers(self) -> None:
        """Note workers that ended; put new ones where nobody else will."""
        for slot in self.slots:
            if not slot.worker.alive() and not slot.expected:
                self.note_gone(slot, expected=False)
                self.restart(slot)

    def note_gone(self, slot: Slot, *, expected: bool, killed: bool = False) -> None:
        """Write down how a worker ended."""
        worker = slot.worker
        self.gone.append(Gone(worker.name, worker.status, expected, killed, tail(worker.log, 5)))

    def sample_memory(self) -> None:
        """Measure every supervisor that has been up for ten seconds: before that it warms up."""
        now = time.monotonic()
        for slot in self.slots:
            if now - slot.started > 10.0 and not slot.expected and slot.worker.alive():
                name = slot.worker.name
                resident, own = memory(slot.worker.pid)
                if resident:
                    points = self.memory.setdefault(name, Samples()).points
                    points.append((self.journal.ended_of.get(name, 0), resident, own))

    # --- the end ----------------------------------------------------------------------------------

    def calm(self) -> None:
        """Make everything whole again: what comes now is the quiet time."""
        for slot in self.slots:
            slot.worker.signal_all(signal.SIGCONT)
            if slot.line is not None:
                slot.line.heal()
            if slot.clock is not None:
                slot.clock.shift(0.0)
        if self.client_line is not None:
            self.client_line.heal()

    def end_workers(self) -> None:
        """Tell every worker to end, and note how each does."""
        for slot in self.slots:
            slot.worker.signal(signal.SIGTERM)
        for slot in self.slots:
            killed = slot.worker.end(END_PATIENCE)
            self.note_gone(slot, expected=True, killed=killed)

    def close(self) -> None:
        """End every process and the store."""
        for slot in self.slots:
            if slot.worker.alive():
                slot.worker.signal_all(signal.SIGKILL)
            slot.worker.end(1.0)
        with contextlib.suppress(OSError):
            self.store.close()


def tail(path: Path, lines: int = 15) -> str:
    """Return the end of a log."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _python(peer: str) -> str:
    if peer == "umbel":
        return sys.executable
    python = os.environ.get("UMBEL_TEST_CELERY_PYTHON", ".venv-celery/bin/python")
    if not Path(python).exists():
        raise RuntimeError(
            f"torture: there is no {python}; make it with 'make test', or name a Python that has"
            " Celery in UMBEL_TEST_CELERY_PYTHON"
        )
    return str(Path(python).absolute())
