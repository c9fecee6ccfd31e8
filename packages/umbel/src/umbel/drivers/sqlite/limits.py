"""The limits that all workers on one file share: what one transaction does to them.

Called by ``consumer.py`` and ``broker.py``, inside a writing transaction of theirs: there is one
writer at a time, so nothing changes between two statements here. Commits nothing, wakes nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from umbel.drivers.sqlite.boot import BOOT
from umbel.drivers.sqlite.connection import Database
from umbel.drivers.sqlite.messages import parse_receipt, take_places
from umbel.drivers.sqlite.statements import SQL
from umbel.model.pace import Pace
from umbel.model.shared_limits import RESERVED, Held, Token, Wish

NOBODY = 0
"""The owner of a place that is kept for a message on its way."""
SWEPT = 200
"""Limits looked at in one sweep."""
PACES_KEPT = 60.0
"""Seconds for which a pace that binds nobody is kept."""


class Moment(msgspec.Struct, frozen=True):
    """Unix time, and the reading of the monotonic clock that leases are counted by."""

    now: float
    monotonic: float


def admit(database: Database, owner: int, wish: Wish, at: Moment) -> float | None:
    """As ``Gate.admit``, for one."""
    number, token = parse_receipt(wish.receipt)
    if database.execute(SQL["claim_is_held"], (owner, number, token)).fetchone() is None:
        return None
    holds = False
    if wish.hold is not None:
        holder = (wish.hold, wish.task_id)
        holds = database.execute(SQL["holder"], holder).fetchone() is not None
        if not holds and not _has_room(database, wish.hold, wish.most, at):
            place = take_places(database, 1)
            database.execute(SQL["drop_claim"], (owner, number, token))
            row = (wish.hold, place, number, wish.task_id, wish.most, wish.queue)
            database.execute(SQL["block"], row)
            let_go(database, wish.hold, wish.most, at.now)
            return None
    if wish.pace is not None:
        wait = _wait(database, wish.pace, wish.interval, at.now)
        if wait:
            if holds and wish.hold is not None:
                for each in (owner, NOBODY):
                    database.execute(SQL["let_hold_go"], (wish.hold, wish.task_id, each))
                let_go(database, wish.hold, wish.most, at.now)
            return wait
    if wish.hold is not None:
        database.execute(SQL["hold"], (wish.hold, wish.task_id, owner, 0.0))
    return 0.0


def _has_room(database: Database, name: str, most: int, at: Moment) -> bool:
    """Whether there is a place, and nobody who waits for one."""
    if database.execute(SQL["count_holders"], (name,)).fetchone()[0] >= most:
        database.execute(SQL["bury_holders"], (name, at.now, BOOT, at.monotonic))
        if database.execute(SQL["count_holders"], (name,)).fetchone()[0] >= most:
            return False
    return database.execute(SQL["any_blocked"], (name,)).fetchone() is None


def _wait(database: Database, name: str, interval: float, now: float) -> float:
    row = database.execute(SQL["pace"], (name,)).fetchone()
    pace = Pace() if row is None else Pace(*row)
    wait = pace.wait(interval, now)
    database.execute(SQL["set_pace"], (name, pace.free_at, max(pace.last_turn, -1e300)))
    return wait


def let_go(database: Database, name: str, most: int, now: float) -> bool:
    """Send the first that wait to the front of their queues, as far as there are places."""
    (held,) = database.execute(SQL["count_holders"], (name,)).fetchone()
    if held >= most:
        return False
    rows = database.execute(SQL["first_blocked"], (name, most - held)).fetchall()
    for place, number, task_id in rows:
        database.execute(SQL["unblock"], (name, place))
        database.execute(SQL["hold"], (name, task_id, NOBODY, now + RESERVED))
        database.execute(SQL["ready_again"], (number,))
    return bool(rows)


def release(database: Database, owner: int, tokens: Sequence[Token], now: float) -> bool:
    """As ``Gate.release``; True where something was let go."""
    gone = False
    for token in tokens:
        database.execute(SQL["let_hold_go"], (token.hold, token.task_id, owner))
        gone = let_go(database, token.hold, token.most, now) or gone
    return gone


def sweep(database: Database, after: str, at: Moment) -> tuple[bool, str]:
    """As ``Gate.sweep``, for the next names; whether something was let go, and how far it came."""
    gone = False
    rows = database.execute(SQL["names_blocked"], (after, SWEPT)).fetchall()
    for name, most in rows:
        database.execute(SQL["bury_holders"], (name, at.now, BOOT, at.monotonic))
        gone = let_go(database, name, most, at.now) or gone
    database.execute(SQL["drop_old_paces"], (at.now - PACES_KEPT,))
    return gone, rows[-1][0] if len(rows) == SWEPT else ""


def held(database: Database, most: int) -> list[Held]:
    """As ``Broker.limits_held``."""
    return [
        Held(
            name=name,
            most=places,
            running=tuple(row[0] for row in database.execute(SQL["holders"], (name,))),
            waiting=waiting,
        )
        for name, places, waiting in database.execute(SQL["limits_held"], (most,)).fetchall()
    ]
