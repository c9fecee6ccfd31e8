"""What rests in a broker with nobody holding it: set aside for a person, or until its time."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from umbel.model.delivery import Quarantine
from umbel.model.outcome import ResultRecord


class Shelf(Enum):
    """Where in a queue a message rests."""

    QUARANTINE = "quarantine"
    """Set aside: nobody claims it. In the order in which they were set aside."""
    DELAYED = "delayed"
    """Claimed once its time has come. In the order in which they are due."""


class Shelved(msgspec.Struct, frozen=True, kw_only=True):
    """One resting message.

    ``id`` is the broker's own and no other message's, for as long as this one rests unchanged.
    ``at`` (aware) is when it was set aside, or when it is due. ``count`` is how many deliveries
    ended without an outcome. ``raw`` is as in ``Delivery``.
    """

    id: str
    queue: str
    raw: bytes
    at: datetime
    count: int = 0
    reason: str = ""
    """Why it was set aside, or why it waits; empty where its own time is the reason."""
    detail: str | None = None
    """A traceback, or a sentence more."""
    error: str | None = None
    """The name of the exception's class."""
    worker: str | None = None
    """The node name of the worker that set it aside."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages of a shelf are wanted: all of these must hold."""

    since: datetime | None = None
    """``at`` is this moment (aware) or later."""
    until: datetime | None = None
    """``at`` is earlier than this moment (aware)."""
    containing: tuple[bytes, ...] = ()
    """``raw`` contains one of these, byte for byte; empty: whatever it contains."""


EVERYTHING = Selection()


class Page(msgspec.Struct, frozen=True):
    """Some messages of a shelf, and where the next page begins: None after the last one.

    A page may hold fewer than were asked for, even none, and yet not be the last: one call does a
    bounded amount of work.
    """

    entries: tuple[Shelved, ...]
    after: str | None


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """One message leaves its shelf.

    With ``raw`` it goes back to its queue in that form, to rest again if ``due_at`` (aware) has
    not come; without, it is dropped. ``records`` are stored and the results of the ids in
    ``forget`` forgotten in the same step.
    """

    id: str
    raw: bytes | None = None
    due_at: datetime | None = None
    records: tuple[ResultRecord, ...] = ()
    forget: tuple[str, ...] = ()


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be set aside by whoever holds it without a claim: it was acknowledged before."""

    queue: str
    raw: bytes
    verdict: Quarantine
    count: int = 1
    worker: str | None = None
