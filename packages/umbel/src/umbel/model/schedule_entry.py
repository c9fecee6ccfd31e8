"""One entry of the schedule: what to send, by which rule, and how far it has got."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from umbel.model.queues import Outgoing

CatchUp: TypeAlias = Literal["skip", "latest", "all"]
"""What becomes of runs that were missed: none of them, one for the latest, each of them."""


class ScheduleEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a schedule store remembers. Times are aware datetimes, lengths float seconds.

    ``rule`` is what ``Schedule.as_dict`` gave, ``zone`` where its wall times are read. ``call`` is
    the call as text (tagged JSON of args, kwargs and options); None where only the program that
    defines the entry knows it. ``deadline``: runs that are missed by more are not made up for.
    ``jitter``: each run is put off by a random part of it. ``next_due`` None: no further run.
    """

    name: str
    task: str
    rule: Mapping[str, Any]
    zone: str = "UTC"
    call: str | None = None
    origin: Literal["program", "store"] = "store"
    catch_up: CatchUp = "latest"
    deadline: float | None = None
    jitter: float = 0.0
    paused: bool = False
    next_due: datetime | None = None
    last_due: datetime | None = None
    last_sent: datetime | None = None
    runs: int = 0
    claimed_by: str | None = None
    """Who sends the run that is due, where the store and the broker are two."""
    claimed_until: datetime | None = None


class ScheduleChange(msgspec.Struct, frozen=True):
    """One step of one entry: made if it stands at ``revision``, else refused.

    ``revision`` 0: there is no such entry. ``entry`` None: it goes. ``outgoing`` is sent in the
    same step, by stores that hold the queues as well.
    """

    name: str
    revision: int
    entry: ScheduleEntry | None
    outgoing: tuple[Outgoing, ...] = ()


class Scheduled(msgspec.Struct, frozen=True):
    """An entry as it stands, and the number of that state, which is never used again."""

    entry: ScheduleEntry
    revision: int
