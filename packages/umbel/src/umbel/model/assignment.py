"""What a pool is told, and what it tells back. These cross process borders as msgpack arrays."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import msgspec

from umbel.model.delivery import Verdict
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Queue


class Interrupt(Enum):
    """How to stop one assignment."""

    SOFT = "raise inside the task"
    HARD = "kill the executor and start another"


class Assignment(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """One admitted delivery on its way to an executor. Limits in seconds."""

    id: int
    raw: bytes
    queue: str
    count: int
    redelivered: bool
    soft_limit: float | None
    hard_limit: float | None


class Recall(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Give back whatever you have not begun."""


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """Begin nothing more, finish what runs, exit."""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Raise inside one running assignment: its soft time limit passed, or it was cancelled."""

    id: int
    reason: str


Order: TypeAlias = Assignment | Recall | Stop | Cancel
"""Everything a supervisor says to an executor."""


class FollowUp(msgspec.Struct, frozen=True, array_like=True):
    """One message to send because a run ended: an ``Outgoing`` whose message is in its envelope.

    Headers may hold values that only the wire formats can write, so they cross as bytes.
    """

    raw: bytes
    queue: Queue
    due_at: datetime | None


class Report(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """What must now happen because a run ended. The executor decides; the supervisor performs."""

    id: int
    state: str
    verdict: Verdict
    records: tuple[ResultRecord, ...]
    outgoing: tuple[FollowUp, ...]
    seconds: float


class Began(msgspec.Struct, frozen=True, array_like=True, tag="B"):
    """The executor is inside the task. ``record``: the STARTED record, where it is tracked.

    Executors of one slot say it only with a record: they work in order, so the supervisor knows.
    """

    id: int
    record: ResultRecord | None


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="G"):
    """These were never begun (answer to Recall or Stop)."""

    ids: tuple[int, ...]


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="Y"):
    """The executor is up and takes assignments."""

    pid: int


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag="L"):
    """The executor retires by itself (task count or memory limit reached) and takes no more."""

    why: str


Word: TypeAlias = Report | Began | Returned | Ready | Leaving
"""Everything an executor says to its supervisor."""


class Lost(msgspec.Struct, frozen=True):
    """The executor died under the task: killed, out of memory, crashed."""

    id: int
    status: int | None
    """Exit code, or minus the signal number; None when unknown."""
    innocent: bool = False
    """The executor was killed for the sake of another assignment in it."""


PoolEvent: TypeAlias = Report | Began | Returned | Lost
