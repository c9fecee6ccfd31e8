"""What will be done in a run: the calls, and the faults among them. Pure; the seed decides all.

A fault is due when a certain number of calls has been sent, so that the plan does not hang on how
fast the machine is. Whom it hits and for how long follows from numbers drawn here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from torture.load import KINDS, Call, make_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was asked for. Durations in seconds."""

    peer: str = "umbel"
    store: str = "sqlite"
    ack: str = "late"
    """``late``, ``late-reject`` (Celery: with reject on worker lost) or ``early``."""
    pool: str = "prefork"
    workers: int = 3
    concurrency: int = 4
    tasks: int = 10_000
    faults: int = 26
    seed: int = 1
    lease: float = 3.0
    rate: float = 130.0
    """Calls a second, at most."""
    patience: float = 60.0
    """Without any news for so long after the last fault, what is not finished is stuck."""
    kinds: tuple[str, ...] = tuple(KINDS)
    only: tuple[str, ...] = ()
    """Names of faults; empty: all that the store allows."""
    log_level: str = "warning"
    timed: bool = True
    """Whether slow rescues break a promise: not where the machine may be busy with other things."""

    @property
    def at_least_once(self) -> bool:
        return self.ack != "early"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, and what it needs."""

    weight: float
    about: str
    needs: frozenset[str] = field(default_factory=frozenset)
    """``server``, ``clock``, ``disk``, ``template`` (a process that forks the executors)."""


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


FAULTS: dict[str, Kind] = {
    "kill-executor": Kind(10, "SIGKILL of an executor that runs a task"),
    "kill-supervisor": Kind(3, "SIGKILL of a supervisor; its executors die with it"),
    "kill-template": Kind(1, "SIGKILL of the process that imported the app", _needs("template")),
    "kill-worker": Kind(3, "SIGKILL of every process of a worker at once: a dead machine"),
    "freeze-short": Kind(2, "SIGSTOP of a whole worker for less than half a lease"),
    "freeze-long": Kind(2, "SIGSTOP of a whole worker for longer than a lease: a zombie"),
    "freeze-supervisor": Kind(2, "SIGSTOP of a supervisor alone, longer than a lease"),
    "freeze-executor": Kind(2, "SIGSTOP of an executor alone, longer than a lease"),
    "terminate": Kind(3, "SIGTERM of a worker; another is started at the same time"),
    "quit": Kind(1, "SIGQUIT of a worker: a cold end"),
    "rolling-restart": Kind(1, "SIGTERM of every worker in turn, each replaced"),
    "clock-jump": Kind(2, "a worker's wall clock jumps by up to 20 s, and back", _needs("clock")),
    "store-restart": Kind(2, "SIGTERM of the server, up again soon", _needs("server")),
    "store-crash": Kind(2, "SIGKILL of the server, up again soon", _needs("server")),
    "store-away": Kind(1, "SIGKILL of the server, away for longer than a lease", _needs("server")),
    "store-frozen": Kind(1, "SIGSTOP of the server for up to two seconds", _needs("server")),
    "cut-worker": Kind(3, "every connection of a worker is reset", _needs("server")),
    "cut-client": Kind(2, "every connection of the client is reset", _needs("server")),
    "cut-all": Kind(1, "every connection is reset", _needs("server")),
    "slow-worker": Kind(2, "20 to 200 ms are added to each packet of a worker", _needs("server")),
    "drop-replies": Kind(2, "what the server answers a worker vanishes", _needs("server")),
    "drop-both": Kind(
        2, "what a worker and the server say to each other vanishes", _needs("server")
    ),
    "cut-off": Kind(1, "a worker is cut off in silence for longer than a lease", _needs("server")),
    "drop-client": Kind(1, "what the server answers the client vanishes", _needs("server")),
    "disk-full": Kind(3, "the disk is full for up to two seconds", _needs("disk")),
}


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault to come."""

    index: int
    at: int
    """It is due when so many calls were sent."""
    name: str
    who: float
    size: float
    """Both from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run will do."""

    setup: Setup
    calls: list[Call]
    faults: list[PlannedFault]
    left_out: tuple[str, ...]
    """Faults that cannot be made here, and why not, in words."""


def make_plan(setup: Setup, able: frozenset[str]) -> Plan:
    """Return the plan of a setup where what is in ``able`` can be had (``Kind.needs``)."""
    wanted = setup.only or tuple(FAULTS)
    names = [name for name in wanted if FAULTS[name].needs <= able]
    left_out = tuple(
        f"{name} (needs {', '.join(sorted(FAULTS[name].needs - able))})"
        for name in wanted
        if name not in names
    )
    dice = random.Random(f"faults {setup.seed}")
    weights = [FAULTS[name].weight for name in names]
    # Not at the very beginning, when the workers start, nor after the last call.
    first, last = setup.tasks * 0.03, setup.tasks * 0.98
    gap = (last - first) / max(1, setup.faults)
    faults = [
        PlannedFault(
            index,
            int(first + gap * (index + dice.random())),
            _name(index, names, weights, dice),
            dice.random(),
            dice.random(),
        )
        for index in range(setup.faults if names else 0)
    ]
    calls = make_calls(setup.seed, setup.tasks, setup.lease, setup.kinds)
    return Plan(setup, calls, faults, left_out)


def _name(index: int, names: list[str], weights: list[float], dice: random.Random) -> str:
    """Each kind once at first where there are enough of them, then by weight."""
    drawn = dice.choices(names, weights)[0]
    return names[index // 2 % len(names)] if index % 2 and index // 2 < len(names) else drawn
