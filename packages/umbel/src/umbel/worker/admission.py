"""May this delivery run now? A pure decision: values in, one answer out.

Called by ``supervisor`` for each claimed message, before anything else happens to it.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from umbel.errors import NotRegistered, TaskRevokedError, WorkerLostError
from umbel.wire.envelope import Peek
from umbel.wire.rewriting import WITHDRAWN
from umbel.worker.plan import TaskTraits, WorkerPlan

PARKING_DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds an unknown task rests, delivery by delivery, before it is set aside: two minutes in all,
longer than a rolling deploy of one service usually leaves old and new workers side by side."""


class Run(msgspec.Struct, frozen=True):
    """Go. Limits are already merged: call, then task, then worker."""

    traits: TaskTraits
    soft_limit: float | None
    hard_limit: float | None


class Rest(msgspec.Struct, frozen=True):
    """Not before this moment. ``counted``: the claim counts as a delivery."""

    until: datetime
    counted: bool
    why: str


class Drop(msgspec.Struct, frozen=True):
    """Never: acknowledge, and store this outcome."""

    state: str
    error: BaseException
    why: str


class SetAside(msgspec.Struct, frozen=True):
    """Not by itself: quarantine, and store this failure so that nobody waits for ever."""

    error: BaseException
    why: str


Admission: TypeAlias = Run | Rest | Drop | SetAside


def admit(
    peek: Peek,
    *,
    count: int,
    now: datetime,
    plan: WorkerPlan,
    revoked: Container[str],
    rested: bool = False,
) -> Admission:
    """Decide about one delivery that has been claimed ``count`` times, this time included.

    ``rested``: the store kept it until its ``eta`` and handed it out again, so it is due by the
    store's clock, which is the one that counts; ours may be behind.
    """
    if peek.id in revoked:
        return Drop("REVOKED", TaskRevokedError("revoked"), "revoked")
    if peek.expires is not None and now > peek.expires:
        why = "cancelled" if peek.expires == WITHDRAWN else "expired"
        return Drop("REVOKED", TaskRevokedError(why), why)
    if peek.eta is not None and peek.eta > now and not rested:
        return Rest(peek.eta, counted=False, why="not due yet")
    traits = plan.tasks.get(peek.task)
    if traits is None:
        return _unknown(peek.task, count, now, plan)
    if plan.max_deliveries is not None and count > plan.max_deliveries:
        why = (
            f"delivered {count - 1} times without an outcome"
            f" (task_max_deliveries is {plan.max_deliveries})"
        )
        return SetAside(WorkerLostError(why), why)
    return Run(
        traits,
        _first(peek.soft_limit, traits.soft_limit, plan.soft_limit),
        _first(peek.hard_limit, traits.hard_limit, plan.hard_limit),
    )


def _unknown(task: str, count: int, now: datetime, plan: WorkerPlan) -> Admission:
    if not plan.unknown_parks:
        return Drop("FAILURE", NotRegistered(task), f"no task named {task!r} is registered here")
    if count <= len(PARKING_DELAYS):
        delay = PARKING_DELAYS[count - 1]
        why = f"no task named {task!r} is registered here; trying again in {delay:g} s"
        return Rest(now + timedelta(seconds=delay), counted=True, why=why)
    why = f"no worker that took it knows a task named {task!r} ({count} deliveries)"
    return SetAside(NotRegistered(task), why)


def _first(*limits: float | None) -> float | None:
    for limit in limits:
        if limit is not None:
            return limit
    return None
