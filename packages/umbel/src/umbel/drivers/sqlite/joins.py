"""What one transaction does to joins: the headers of chords, counted until no slot is left open.

Called by ``consumer.py`` and ``result_backend.py`` inside their transactions. Sends nothing: what
follows a join is returned.
"""

from __future__ import annotations

from collections.abc import Sequence

from umbel.drivers.sqlite.connection import Database
from umbel.drivers.sqlite.statements import SQL
from umbel.model.join import (
    CLOSED_FOR,
    CloseJoin,
    FillSlot,
    GrowJoin,
    JoinParts,
    JoinStep,
    OpenJoin,
)
from umbel.model.queues import FollowUp

_NO_SLOT = 2**62


def perform(
    database: Database, steps: Sequence[JoinStep], now: float, *, again: bool
) -> list[FollowUp]:
    """Perform these; return what follows.

    ``again``: also what follows a join that was complete before, while it is not closed.
    """
    due: list[FollowUp] = []
    for step in steps:
        join_id = step.join_id
        _make(database, join_id, now)
        match step:
            case OpenJoin(size=size, expires=expires):
                until = None if expires is None else now + expires
                database.execute(SQL["open_join"], (size, until, join_id))
            case GrowJoin(by=by):
                database.execute(SQL["grow_join"], (by, join_id))
            case FillSlot():
                if _fill(database, step, again, now):
                    due.append(step.then)
            case CloseJoin():
                database.execute(SQL["drop_join_parts"], (join_id,))
                database.execute(SQL["close_join"], (join_id, now + CLOSED_FOR))
    return due


def _make(database: Database, join_id: str, now: float) -> None:
    if database.execute(SQL["drop_dead_join"], (join_id, now)).rowcount:
        database.execute(SQL["drop_join_parts"], (join_id,))
    database.execute(SQL["make_join"], (join_id,))


def _fill(database: Database, step: FillSlot, again: bool, now: float) -> bool:
    """Fill the slot; True when what follows is due."""
    slot = _NO_SLOT if step.slot is None else step.slot
    values = (step.join_id, slot, step.task_id, step.part, step.join_id)
    new = database.execute(SQL["add_join_part"], values).rowcount > 0
    if new:
        database.execute(SQL["count_join_part"], (step.join_id,))
    row = database.execute(SQL["join_counts"], (step.join_id, now)).fetchone()
    if row is None or row[0] is None or row[3]:
        return False
    size, grown, filled, _ = row
    return bool(filled >= size + grown and (again or (new and filled == size + grown)))


def fetch(database: Database, join_id: str, now: float) -> JoinParts | None:
    """Return what is known of a join."""
    row = database.execute(SQL["join_counts"], (join_id, now)).fetchone()
    if row is None:
        return None
    size, grown, _, closed = row
    parts = database.execute(SQL["join_parts"], (join_id,)).fetchall()
    whole = None if size is None else size + grown
    return JoinParts(whole, tuple(bytes(part) for (part,) in parts), bool(closed))


def sweep(database: Database, now: float, limit: int) -> int:
    """Drop up to so many joins that have expired; return how many."""
    old = database.execute(SQL["old_joins"], (now, limit)).fetchall()
    for (join_id,) in old:
        database.execute(SQL["drop_join_parts"], (join_id,))
        database.execute(SQL["drop_dead_join"], (join_id, now))
    return len(old)
