"""The load: which calls are sent, what each must bring. Pure; the seed decides everything.

``planning`` makes the plan of a run from here; ``audit`` compares what happened with ``outcomes``.
A new kind of call (a group, a chord) is one entry in ``KINDS`` and, where it runs as more than one
task, its further outcomes in ``Call.outcomes``.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Key: TypeAlias = tuple[int, int]
"""One run that must happen: the number of the call, and which run of it (retries, linked tasks)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What must be readable under one task id in the end."""

    task_id: str
    states: tuple[str, ...]
    value: int | None
    """What SUCCESS carries, or the text of the failure's argument."""
    keys: tuple[Key, ...]
    """The runs it takes; the last of them is the one that gives the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. Durations in seconds."""

    number: int
    kind: str
    seconds: float
    """How long each of its tasks sleeps."""
    task_id: str
    retries: int = 0
    fails: bool = False
    countdown: float | None = None
    expires: float | None = None
    links: tuple[str, ...] = ()
    """Ids of the tasks that follow one after the other: as ``link``, or as steps of a chain."""
    header: tuple[str, ...] = ()
    """Ids of the tasks of a chord's header; ``task_id`` is then its body."""

    @property
    def value(self) -> int:
        """What a client that waits for its handle must get."""
        if self.header:
            return sum(self.number + step for step in range(len(self.header)))
        return self.number + (len(self.links) if self.kind == "chain" else 0)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return one outcome for each task of this call."""
        if self.header:
            return self._chord_outcomes()
        keys = tuple((self.number, step) for step in range(self.retries + 1))
        states: tuple[str, ...] = ("FAILURE",) if self.fails else ("SUCCESS",)
        if self.expires is not None:
            states += ("REVOKED",)
        found = [Outcome(task_id=self.task_id, states=states, value=self.number, keys=keys)]
        found += [
            Outcome(
                task_id=each,
                states=("SUCCESS",),
                value=self.number + step,
                keys=((self.number, self.retries + step),),
            )
            for step, each in enumerate(self.links, 1)
        ]
        return tuple(found)

    def _chord_outcomes(self) -> tuple[Outcome, ...]:
        found = [
            Outcome(
                task_id=each,
                states=("SUCCESS",),
                value=self.number + step,
                keys=((self.number, step),),
            )
            for step, each in enumerate(self.header)
        ]
        body = Outcome(
            task_id=self.task_id,
            states=("SUCCESS",),
            value=self.value,
            keys=((self.number, len(self.header)),),
        )
        return (*found, body)

    def words(self) -> dict[str, Any]:
        """Return it as the sender program reads it."""
        return asdict(self) | {"value": self.value}


Maker: TypeAlias = Callable[[random.Random, float], dict[str, Any]]


def _moment(dice: random.Random) -> float:
    """Most tasks take milliseconds, some a tenth of a second."""
    return dice.choice((0.001, 0.005, 0.01, 0.02)) if dice.random() < 0.85 else 0.08


def _plain(dice: random.Random, _lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice)}


def _long(dice: random.Random, lease: float) -> dict[str, Any]:
    """Longer than a lease: nothing may take it for dead."""
    return {"seconds": lease * dice.uniform(1.1, 1.6)}


def _retry(dice: random.Random, _lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice), "retries": dice.randint(1, 3)}


def _fail(dice: random.Random, _lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice), "fails": True}


def _later(dice: random.Random, lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice), "countdown": dice.uniform(0.2, 2.5 * lease)}


def _expiring(dice: random.Random, _lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice), "expires": dice.choice((0.05, 1.0, 10.0, 60.0))}


def _linked(dice: random.Random, _lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice), "links": dice.randint(1, 3)}


def _chord(dice: random.Random, _lease: float) -> dict[str, Any]:
    return {"seconds": _moment(dice), "header": dice.randint(2, 5)}


KINDS: dict[str, tuple[float, Maker]] = {
    "plain": (0.60, _plain),
    "long": (0.002, _long),
    "retry": (0.09, _retry),
    "fail": (0.05, _fail),
    "later": (0.09, _later),
    "expiring": (0.046, _expiring),
    "linked": (0.06, _linked),
    "chain": (0.04, _linked),
    "chord": (0.03, _chord),
}
"""Kind of call -> its share of the load, and how one is made from dice and the lease."""


def make_calls(seed: int, count: int, lease: float, kinds: tuple[str, ...]) -> list[Call]:
    """Return ``count`` calls of these kinds."""
    dice = random.Random(f"load {seed}")
    weights = [KINDS[kind][0] for kind in kinds]
    calls = []
    for number in range(count):
        (kind,) = dice.choices(kinds, weights)
        made = KINDS[kind][1](dice, lease)
        links, header = made.pop("links", 0), made.pop("header", 0)
        calls.append(
            Call(
                number=number,
                kind=kind,
                task_id=_task_id(seed, number, 0),
                links=tuple(_task_id(seed, number, 1 + step) for step in range(links)),
                header=tuple(_task_id(seed, number, 1 + step) for step in range(header)),
                **made,
            )
        )
    return calls


def _task_id(seed: int, number: int, step: int) -> str:
    return str(uuid.UUID(int=(seed % 2**32) << 96 | number << 16 | step))
