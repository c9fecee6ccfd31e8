"""The life of one delivery inside a worker.

This table is the only authority: the ledger refuses every step that is not in it, the diagram in
docs/design/lifecycle.md is drawn from it, and a test walks all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Step(Enum):
    CLAIMED = auto()  # ours until the lease ends; admitted, no executor has it
    ASSIGNED = auto()  # handed to an executor that has not begun it
    RUNNING = auto()  # an executor is inside the task
    REPORTED = auto()  # it ended; its effects are not all performed yet
    SETTLED = auto()  # the broker has our verdict; final
    ESCAPED = auto()  # the lease ran out under us; somebody else may run it; final

    # Enum's own is written in Python up to 3.11: 0.9 us of a task's 12 in the supervisor.
    __hash__ = object.__hash__


STEPS: Mapping[Step, frozenset[Step]] = {
    Step.CLAIMED: frozenset({Step.ASSIGNED, Step.REPORTED, Step.ESCAPED}),
    # Back to CLAIMED: recalled from behind a task that turned out to be long.
    Step.ASSIGNED: frozenset({Step.CLAIMED, Step.RUNNING, Step.REPORTED, Step.ESCAPED}),
    # Back to CLAIMED: an executor that works in order is believed to have begun what comes next,
    # and may give it back all the same.
    Step.RUNNING: frozenset({Step.CLAIMED, Step.REPORTED, Step.ESCAPED}),
    Step.REPORTED: frozenset({Step.SETTLED, Step.ESCAPED}),
    Step.SETTLED: frozenset(),
    Step.ESCAPED: frozenset(),
}


class IllegalStep(AssertionError):
    """A bug in Umbel, never in user code."""


def step(old: Step, new: Step) -> Step:
    """Return ``new`` if a delivery may go there from ``old``; raise IllegalStep otherwise."""
    if new not in STEPS[old]:
        raise IllegalStep(f"a delivery cannot go from {old.name} to {new.name}")
    return new
