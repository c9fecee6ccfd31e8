"""What a pool is told, and what it tells back. These cross process borders as msgpack arrays."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import msgspec

from umbel.model.delivery import Verdict
from umbel.model.join import JoinStep
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp


class Interrupt(Enum):
    """How to stop one assignment, from the mildest to the surest."""

    REVOKE = "give it back if it has not begun; else let it know"
    SOFT = "raise SoftTimeLimitExceeded inside the task"
    TERMINATE = "send the process a signal, or raise Terminated inside the task"
    HARD = "kill the executor and start another"


class Obituary(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """How a run ended that cannot tell it: past its hard limit, or with its executor."""

    timed_out: bool
    args: tuple[str | int | float | None, ...]
    """Of TimeLimitExceeded, or WorkerLostError."""


class Notice(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """What the app's signals are to tell of a message that does not run, or was ended.

    ``signal``: ``task_revoked`` (with the next three), ``task_unknown`` or ``task_rejected``.
    """

    signal: str
    terminated: bool = False
    signum: int | None = None
    expired: bool = False
    why: str = ""


class Assignment(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """One admitted delivery on its way to an executor. Limits in seconds."""

    id: int
    raw: bytes
    queue: str
    count: int
    redelivered: bool
    soft_limit: float | None
    hard_limit: float | None
    watched: bool = False
    """A monitor wants to know: its beginning is told, and the report has an account."""
    obituary: Obituary | Notice | None = None
    """It is not to be run: it has ended in this way, and who follows, or listens, is to be told."""


class Recall(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Give back whatever you have not begun. ``ending``: the worker ends, so tell what runs."""

    ending: bool = False


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """Begin nothing more, finish what runs, exit."""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Stop one assignment in this way, any but ``HARD``.

    ``reason``: what the exception says; for ``TERMINATE`` the name of the signal.
    """

    id: int
    how: Interrupt
    reason: str


Order: TypeAlias = Assignment | Recall | Stop | Cancel
"""Everything a supervisor says to an executor."""


class Account(msgspec.Struct, frozen=True, array_like=True):
    """What monitors are told of how a run ended, as text: the value, or the error."""

    result: str | None = None
    exception: str | None = None
    traceback: str | None = None


class Report(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """What must now happen because a run ended. The executor decides; the supervisor performs."""

    id: int
    state: str
    verdict: Verdict
    records: tuple[ResultRecord, ...]
    outgoing: tuple[FollowUp, ...]
    seconds: float
    joins: tuple[JoinStep, ...] = ()
    account: Account | None = None


class Began(msgspec.Struct, frozen=True, array_like=True, tag="B"):
    """The executor is inside the task. ``record``: the STARTED record, where it is tracked.

    Executors of one slot say it only with a record: they work in order, so the supervisor knows.
    """

    id: int
    record: ResultRecord | None


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="G"):
    """These were never begun (answer to Recall, Stop or Cancel)."""

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
