"""What is due now, and what comes next. Pure: an entry, its rule and a moment in, runs out.

Called by ``service``. The states of an entry are steps of one path: whichever scheduler computes a
step comes to the same one, and the store lets one of them make it.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timedelta

import msgspec

from umbel.model.schedule_entry import ScheduleEntry
from umbel.schedules.rule import Schedule, zone_of

MOST_AT_ONCE = 100
"""Missed runs that one step makes up for; what is left is due in the next step."""
GRACE = 1.0
"""Seconds by which a run may be late and still count as on time."""

_TICKS = uuid.UUID("6f0ad9a2-5c57-4f0e-9c1c-0d3f8d0a4b1e")
"""The namespace of the ids of what the schedule sends."""


class Turn(msgspec.Struct, frozen=True):
    """One step of an entry: the runs to send (their due times, in order), and the next due time."""

    runs: tuple[datetime, ...]
    next_due: datetime | None
    missed: int = 0
    """Runs that are passed over, as the entry's policy says."""


def first_due(entry: ScheduleEntry, rule: Schedule, now: datetime) -> datetime | None:
    """Return when a new entry, or one with a new rule, is due for the first time."""
    return rule.next_after(now, zone_of(entry.zone))


def turn(entry: ScheduleEntry, rule: Schedule, now: datetime) -> Turn | None:
    """Return the step to make now, or None where nothing is due."""
    due = entry.next_due
    if due is None or due > now or entry.paused:
        return None
    zone = zone_of(entry.zone)
    if entry.catch_up == "all":
        return _each(entry, rule, due, now)
    latest = rule.last_until(due, now, zone)
    following = rule.next_after(latest, zone)
    limit = entry.deadline
    if entry.catch_up == "skip":
        limit = GRACE if limit is None else min(limit, GRACE)
    late = (now - latest).total_seconds()
    # With `latest`, runs before it are not missed one by one: it stands for all of them.
    if limit is not None and late > limit:
        return Turn((), following, missed=1)
    return Turn((latest,), following)


def _each(entry: ScheduleEntry, rule: Schedule, due: datetime, now: datetime) -> Turn:
    runs: list[datetime] = []
    missed, looked = 0, 0
    zone = zone_of(entry.zone)
    following: datetime | None = due
    while following is not None and following <= now and looked < MOST_AT_ONCE:
        if entry.deadline is not None and (now - following).total_seconds() > entry.deadline:
            missed += 1
        else:
            runs.append(following)
        looked += 1
        following = rule.next_after(following, zone)
    return Turn(tuple(runs), following, missed)


def task_id_of(timetable: str, name: str, due: datetime) -> str:
    """Return the id of the run that is due then: the same one, whoever sends it."""
    return str(uuid.uuid5(_TICKS, f"{timetable}\n{name}\n{due.isoformat()}"))


def put_off(entry: ScheduleEntry, due: datetime) -> float:
    """Return the seconds by which this run is put off: the same, whichever scheduler asks."""
    if entry.jitter <= 0:
        return 0.0
    digest = hashlib.blake2b(f"{entry.name}\n{due.isoformat()}".encode(), digest_size=8).digest()
    return entry.jitter * int.from_bytes(digest) / 2**64


def stepped(entry: ScheduleEntry, step: Turn, now: datetime) -> ScheduleEntry:
    """Return the entry after this step."""
    changed = msgspec.structs.replace(
        entry, next_due=step.next_due, claimed_by=None, claimed_until=None
    )
    if not step.runs:
        return changed
    return msgspec.structs.replace(
        changed, last_due=step.runs[-1], last_sent=now, runs=entry.runs + len(step.runs)
    )


def claimed(entry: ScheduleEntry, owner: str, now: datetime, seconds: float) -> ScheduleEntry:
    """Return the entry while this scheduler sends its run, for so long at most."""
    until = now + timedelta(seconds=seconds)
    return msgspec.structs.replace(entry, claimed_by=owner, claimed_until=until)


def is_claimed(entry: ScheduleEntry, owner: str, now: datetime) -> bool:
    """Tell whether another scheduler is sending the run that is due."""
    return (
        entry.claimed_by not in (None, owner)
        and entry.claimed_until is not None
        and entry.claimed_until > now
    )
