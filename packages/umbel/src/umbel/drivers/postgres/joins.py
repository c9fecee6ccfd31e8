"""The headers of chords, counted: from steps of joins to statements.

Called by ``consumer`` (steps that travel with settlements, in the transaction that settles) and
``result_backend`` (steps on their own). Sends nothing.

Who changes a join holds its lock until the transaction ends, and reads afterwards: so what is
counted is what has been committed. Locks are taken in one order, by everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from umbel.drivers.elsewhere import outgoing_of
from umbel.drivers.postgres import packing
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import Connection, Rows, Step
from umbel.model.join import (
    CLOSED_FOR,
    FillSlot,
    GrowJoin,
    JoinParts,
    JoinStep,
    OpenJoin,
)
from umbel.model.queues import FollowUp

NO_SLOT = 2**63 - 1
FREE = 0
"""The number in the place of a claim's id for steps that belong to none."""

Claimed: TypeAlias = tuple[int, JoinStep]
"""A step and the claim that must be held for it to count, or FREE."""


class Run(msgspec.Struct, frozen=True):
    """Steps of one kind that one statement carries out.

    ``fills`` are those of a run that fills slots, in the order of the rows' numbers, from 1.
    """

    step: Step
    fills: tuple[FillSlot, ...] = ()

    def sent(self, rows: Rows) -> list[FollowUp]:
        """Return what the answer to this run says is to be sent, or was."""
        return [self.fills[row[0] - 1].then for row in rows] if self.fills else []


def locks(connection: Connection, bells: Bells, steps: Iterable[JoinStep]) -> list[Step]:
    """Return what to do before everything else in a transaction with these steps."""
    ids = {packing.text_of(step.join_id, "a group's id") for step in steps}
    keys = sorted(bells.join(join_id) for join_id in ids)
    return [
        connection.step("lock_joins", keys=keys),
        connection.step("drop_dead_joins", joins=sorted(ids)),
    ]


def runs(connection: Connection, owner: int, steps: Iterable[Claimed], *, send: bool) -> list[Run]:
    """Return these steps in their order, as few statements.

    ``send``: what follows is put into its queue. Else rows tell of it, and again for a join that
    was complete before, while it is not closed.
    """
    found: list[Run] = []
    for some in _alike(steps):
        kind = type(some[0][1])
        values: dict[str, Any] = {
            "owner": owner,
            "ids": [number for number, _ in some],
            "joins": [step.join_id for _, step in some],
        }
        fills: tuple[FillSlot, ...] = ()
        if kind is FillSlot:
            fills = tuple(step for _, step in some if isinstance(step, FillSlot))
            values.update(_fills(fills))
            if send:
                values.update(_then(fills))
            name = "fill_slots" if send else "fill_slots_and_tell"
        elif kind is OpenJoin:
            name = "open_joins"
            opens = [step for _, step in some if isinstance(step, OpenJoin)]
            values["sizes"] = [step.size for step in opens]
            values["lives"] = [step.expires for step in opens]
        elif kind is GrowJoin:
            name = "grow_joins"
            values["by"] = [step.by for _, step in some if isinstance(step, GrowJoin)]
        else:
            name = "close_joins"
            values["life"] = CLOSED_FOR
        found.append(Run(connection.step(name, **values), fills))
    return found


def _alike(steps: Iterable[Claimed]) -> Iterator[list[Claimed]]:
    """Yield what one statement can do: steps of one kind; no join twice, but for filling slots."""
    some: list[Claimed] = []
    joins: set[str] = set()
    for number, step in steps:
        kind = type(step)
        if some and (
            type(some[0][1]) is not kind or (step.join_id in joins and kind is not FillSlot)
        ):
            yield some
            some, joins = [], set()
        some.append((number, step))
        joins.add(step.join_id)
    if some:
        yield some


def _fills(fills: Sequence[FillSlot]) -> packing.Arrays:
    return {
        "tasks": [packing.text_of(step.task_id, "a task's id") for step in fills],
        "slots": [NO_SLOT if step.slot is None else step.slot for step in fills],
        "parts": [step.part for step in fills],
        "lives": [step.expires for step in fills],
    }


def _then(fills: Sequence[FillSlot]) -> packing.Arrays:
    arrays, _ = packing.messages(outgoing_of(step.then) for step in fills)
    return {f"o_{name}": values for name, values in arrays.items()}


def parts_of(rows: Rows) -> JoinParts | None:
    """Return what the row of ``fetch_join`` tells."""
    if not rows:
        return None
    ((size, closed, parts),) = rows
    return JoinParts(size, tuple(bytes(part) for part in parts), closed)
