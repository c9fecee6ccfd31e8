"""What may become of one message between two owners: the whole protocol, as a small model.

Pure. ``explore`` walks every state that can be reached; ``test_protocol_explored`` replays its
steps on the drivers. The steps are all that owners, networks and clocks can do, in any order:
claim, claim without hearing the answer, settle in every way, settle again or too late, renew,
leave, die, and let leases end.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum

import msgspec

OWNERS = (0, 1)
DEAD = 2
"""The owner of a claim whose process is gone: nobody can settle it."""
MOST_COUNTED = 2
MOST_EFFECTS = 2


class Place(Enum):
    """Where the message is. Exactly one of these, always."""

    READY = "ready"
    RESTING = "resting"
    DUE = "due"  # rested, and its time has come; nobody has moved it yet
    CLAIMED = "claimed"
    DONE = "done"
    ASIDE = "aside"


class Step(msgspec.Struct, frozen=True):
    """One thing that happens. ``owner``: who does it; ``how``: the verdict, or who survives."""

    what: str
    owner: int = 0
    how: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One message and what two owners know of it."""

    place: Place = Place.READY
    count: int = 0
    """Claims that ended without an outcome, as the next delivery will tell."""
    holder: int | None = None
    heard: bool = True
    """The holder knows of its claim."""
    expired: bool = False
    """The holder's lease has ended; nobody has taken the claim over yet."""
    stale: tuple[bool, bool] = (False, False)
    """Which owners remember a claim that is not theirs any more."""
    effects: int = 0
    """How often effects were performed: follow-ups that were sent, results that were stored."""
    ended: int = 0
    """How often it was acknowledged or set aside."""


VERDICTS = {
    "ack": Place.DONE,
    "quarantine": Place.ASIDE,
    "front": Place.READY,
    "back": Place.READY,
    "counted": Place.READY,
    "later": Place.RESTING,
}


def after(state: State, step: Step) -> State | None:
    """Return what a step leads to; None where it cannot be taken."""
    owner = step.owner
    holds = state.holder == owner
    reached: State | None = None
    match step.what:
        case "claim" | "claim unheard" if not holds:
            reached = _claimed(state, owner, heard=step.what == "claim")
        case "settle" if holds and state.heard:
            reached = _settled(state, owner, step.how)
        case "settle stale" if state.stale[owner]:
            reached = state
        case "renew":
            reached = _renewed(state, owner)
        case "leave" if holds:
            reached = _back(state, counted=False)
        case "die" if holds:
            stale = _with(state.stale, owner, value=False)
            reached = msgspec.structs.replace(state, holder=DEAD, heard=False, stale=stale)
        case "lease passes":
            reached = _passed(state, step.how)
        case "calendar is set":
            reached = _set(state, step.how)
    return reached


def _with(stale: tuple[bool, bool], owner: int, *, value: bool) -> tuple[bool, bool]:
    return (value, stale[1]) if owner == 0 else (stale[0], value)


def _back(state: State, *, counted: bool) -> State:
    stale = state.stale
    if state.holder in OWNERS and state.heard:
        assert state.holder is not None
        stale = _with(stale, state.holder, value=True)
    return msgspec.structs.replace(
        state,
        place=Place.READY,
        holder=None,
        heard=True,
        expired=False,
        stale=stale,
        count=state.count + counted,
    )


def _claimed(state: State, owner: int, *, heard: bool) -> State:
    if state.expired:
        state = _back(state, counted=True)
    if state.place not in {Place.READY, Place.DUE}:
        return state
    return msgspec.structs.replace(state, place=Place.CLAIMED, holder=owner, heard=heard)


def _settled(state: State, owner: int, how: str) -> State:
    effects = state.effects + 1
    if how == "keep":
        return msgspec.structs.replace(state, effects=effects)
    back = _back(state, counted=how == "counted")
    place = VERDICTS[how]
    return msgspec.structs.replace(
        back,
        place=place,
        effects=effects,
        ended=state.ended + (place in {Place.DONE, Place.ASIDE}),
        stale=_with(back.stale, owner, value=True),
    )


def _renewed(state: State, owner: int) -> State:
    if state.holder != owner:
        return msgspec.structs.replace(state, stale=_with(state.stale, owner, value=False))
    if not state.heard:
        return _back(state, counted=False)
    return msgspec.structs.replace(
        state, expired=False, stale=_with(state.stale, owner, value=False)
    )


def _passed(state: State, survivors: str) -> State:
    for owner in OWNERS:
        if str(owner) in survivors:
            state = _renewed(state, owner)
    place = Place.DUE if state.place is Place.RESTING else state.place
    expired = state.holder is not None and str(state.holder) not in survivors
    return msgspec.structs.replace(state, place=place, expired=expired)


def _set(state: State, how: str) -> State | None:
    """Leases do not go by the calendar, what rests does. Nothing that rests is set back."""
    rests = state.place in {Place.RESTING, Place.DUE}
    if how == "back":
        return None if rests else state
    return msgspec.structs.replace(state, place=Place.DUE) if rests else state


def steps(*, calendar: bool) -> Iterator[Step]:
    """Yield everything that can happen."""
    for owner in OWNERS:
        for what in ("claim", "claim unheard", "settle stale", "renew", "leave", "die"):
            yield Step(what, owner)
        for how in (*VERDICTS, "keep"):
            yield Step("settle", owner, how)
    for survivors in ("", "0", "1", "01"):
        yield Step("lease passes", how=survivors)
    if calendar:
        for how in ("ahead", "back"):
            yield Step("calendar is set", how=how)


def explore(*, calendar: bool = False) -> Iterator[tuple[tuple[Step, ...], State, Step, State]]:
    """Yield every step from every state that can be reached, with a shortest way to that state.

    ``calendar``: the clock that people read is set, where leases do not go by it.
    """
    start = State()
    seen = {start}
    found: deque[tuple[tuple[Step, ...], State]] = deque([((), start)])
    while found:
        way, state = found.popleft()
        for step in steps(calendar=calendar):
            reached = after(state, step)
            if reached is None:
                continue
            yield way, state, step, reached
            bounded = reached.count <= MOST_COUNTED and reached.effects <= MOST_EFFECTS
            if bounded and reached not in seen:
                seen.add(reached)
                found.append(((*way, step), reached))


@functools.cache
def walks(*, calendar: bool = False) -> Sequence[Sequence[Step]]:
    """Return ways from the beginning that together take every step that ``explore`` yields.

    Each goes on to the nearest step that none has taken, until there is none ahead: less than half
    the steps of as many shortest ways, and an eighth of the beginnings.
    """
    numbers: dict[State, int] = {}  # a number is a quicker key than a state
    onward: dict[int, list[tuple[Step, int]]] = {}
    untaken: dict[int, list[tuple[Step, int]]] = {}
    ends: set[int] = set()
    for _, state, step, reached in explore(calendar=calendar):
        here, there = (numbers.setdefault(one, len(numbers)) for one in (state, reached))
        onward.setdefault(here, []).append((step, there))
        # Taken from the back. There is no way back from the end: everything else first.
        ahead = untaken.setdefault(here, [])
        ahead.insert(0 if reached.ended > state.ended else len(ahead), (step, there))
        ends.update({there} if reached.ended else ())
    found: list[list[Step]] = []
    while any(untaken.values()):
        walk: list[Step] = []
        here = 0
        while (way := _nearest(here, onward, untaken, ends)) is not None:
            walk += [step for step, _ in way]
            here = way[-1][1] if way else here
            step, here = untaken[here].pop()
            walk.append(step)
        found.append(walk)
    return found


def _nearest(
    start: int,
    onward: dict[int, list[tuple[Step, int]]],
    untaken: dict[int, list[tuple[Step, int]]],
    ends: set[int],
) -> list[tuple[Step, int]] | None:
    """Return the way to the nearest state with steps that are not taken yet; None without one."""
    came: dict[int, tuple[int, Step] | None] = {start: None}
    found = deque([start])
    last: int | None = None
    while found:
        here = found.popleft()
        left = untaken.get(here)
        if left:
            if left[-1][1] not in ends or here in ends:
                return _way_to(here, came)
            last = here if last is None else last
        for step, there in onward.get(here, ()):
            if there not in came:
                came[there] = (here, step)
                found.append(there)
    return None if last is None else _way_to(last, came)


def _way_to(here: int, came: dict[int, tuple[int, Step] | None]) -> list[tuple[Step, int]]:
    way: list[tuple[Step, int]] = []
    while (link := came[here]) is not None:
        way.append((link[1], here))
        here = link[0]
    return way[::-1]
