"""Sharing a batch out among executors. Pure. Used by ``pools.process``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from umbel.worker.pools.seats import RECALL_AFTER, Pace, Seat

T = TypeVar("T")


LOOKAHEAD_SHARED = 4
"""Tasks per slot that a process of many slots may hold, whatever the cap."""


def depths(
    seats: Iterable[Seat], pace: Pace, limits: tuple[int, float, int], now: float
) -> list[tuple[Seat, int]]:
    """Return every seat that takes work, and how many assignments it may hold now.

    ``limits``: slots of a seat, seconds of work that may wait at a slot, and how many tasks.
    """
    slots, lookahead, cap = limits
    # The cap is a slot's, but slots of one process share one interpreter: beyond four a slot
    # it is the process's, or a hundred coroutines would be dealt 25,600 tasks at once.
    most = max(cap, LOOKAHEAD_SHARED * slots)
    depth = min(most, slots * pace.depth(lookahead, cap))
    return [(seat, seat.depth(depth, now, RECALL_AFTER)) for seat in seats if seat.takes]


def deal(
    assignments: Sequence[T], seats: Sequence[tuple[Seat, int]]
) -> list[tuple[Seat, Sequence[T]]]:
    """Share a batch out so that every seat holds about as much, in the order claimed.

    ``seats``: each with how many assignments it may hold. That changes with time, so there may be
    more than fits: it goes to who has least. Seats that get nothing are left out.
    """
    rooms = [(seat, depth) for seat, depth in seats if depth > len(seat.held)] or list(seats)
    if not rooms:
        return []
    rooms.sort(key=lambda each: len(each[0].held))
    if len(rooms) == 1 or len(assignments) == 1:
        return [(rooms[0][0], assignments)]
    shares: list[list[T]] = [[] for _ in rooms]
    level, top, at = len(rooms[0][0].held), max(depth for _, depth in rooms), 0
    while at < len(assignments) and level < top:
        for (seat, depth), share in zip(rooms, shares, strict=True):
            if at < len(assignments) and len(seat.held) + len(share) <= min(level, depth - 1):
                share.append(assignments[at])
                at += 1
        level += 1
    shares[0].extend(assignments[at:])
    return [(seat, share) for (seat, _), share in zip(rooms, shares, strict=True) if share]
