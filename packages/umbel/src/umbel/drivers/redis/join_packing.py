"""From the steps of joins to arguments of scripts, and what is known of a join.

Called by ``packing`` (steps of settlements) and ``result_backend``. Talks to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from umbel.drivers.redis.connection import Argument
from umbel.drivers.redis.keys import ResultKeys
from umbel.model.join import (
    CLOSED_FOR,
    CloseJoin,
    FillSlot,
    GrowJoin,
    JoinParts,
    JoinStep,
    OpenJoin,
)

Place = tuple[Argument, bytes, bytes]
"""Where what follows goes, and its two halves: the script writes the members between them."""


def pack_joins(
    steps: Sequence[JoinStep],
    keys: ResultKeys,
    place: Callable[[FillSlot], Place],
    arguments: list[Argument],
) -> None:
    """Append the arguments of these steps."""
    for step in steps:
        key = keys.group(step.join_id)
        match step:
            case OpenJoin(size=size, expires=expires):
                arguments += ("o", key, size, _life(expires))
            case GrowJoin(by=by):
                arguments += ("g", key, by)
            case FillSlot(task_id=task_id, slot=slot, part=part, expires=expires):
                # As Celery writes both: a member without a place comes last.
                score = "+inf" if slot is None else str(slot)
                arguments += ("f", key, f"{task_id}:{score}", score, part, _life(expires))
                arguments += place(step)
            case CloseJoin():
                arguments += ("c", key, round(CLOSED_FOR * 1000))
            case _:
                assert_never(step)


def _life(expires: float | None) -> Argument:
    return "" if expires is None else max(1, round(expires * 1000))


def read_join(
    size: bytes | None, grown: bytes | None, taken: bytes | None, parts: Sequence[bytes]
) -> JoinParts | None:
    """Return what the keys of a join tell, or None where there are none."""
    if size is None and taken is None and not parts:
        return None
    whole = None if size is None else int(size) + int(grown or 0)
    return JoinParts(whole, tuple(parts), taken == b"done")
