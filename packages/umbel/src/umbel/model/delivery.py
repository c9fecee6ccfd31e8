"""A claimed message, and what may become of the claim."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NewType, TypeAlias

import msgspec

from umbel.model.join import JoinStep
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Outgoing

if TYPE_CHECKING:
    from umbel.model.shelves import Aside

Receipt = NewType("Receipt", str)
"""Opaque proof of one claim, never issued twice. Only the consumer that issued it can read it."""


class Delivery(msgspec.Struct, frozen=True):
    """One claim. ``raw`` is the message as the store holds it, opened by ``wire.envelope`` only.

    ``count`` is how often the message has been claimed, this claim included, as far as the store
    knows; ``redelivered`` is true when an earlier claim ended without an outcome.
    """

    receipt: Receipt
    queue: str
    raw: bytes
    count: int = 1
    redelivered: bool = False


class Ack(msgspec.Struct, frozen=True, array_like=True, tag="ack"):
    """Done: the broker forgets the message."""


class Requeue(msgspec.Struct, frozen=True, array_like=True, tag="requeue"):
    """Not now: the message goes back and anybody may claim it, once ``due_at`` (aware) has come.

    ``front`` puts it where it is claimed next (it was never begun); otherwise it goes to the back.
    ``counted`` false takes this claim off the delivery count: nothing was tried.
    """

    due_at: datetime | None = None
    front: bool = True
    counted: bool = False
    why: str | None = None
    """Why it must wait, for who looks at what rests; None where its own ``eta`` says so."""


class Quarantine(msgspec.Struct, frozen=True, array_like=True, tag="quarantine"):
    """Never by itself: the message is set aside, with the reason, where a person can look at it."""

    reason: str
    detail: str | None = None
    error: str | None = None
    """The name of the class of the exception that is the reason, where there is one."""


Verdict: TypeAlias = Ack | Requeue | Quarantine


class Effects(msgspec.Struct, frozen=True):
    """What else happens with the verdict, in the same atomic step where the store can do that."""

    records: tuple[ResultRecord, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()
    joins: tuple[JoinStep, ...] = ()
    asides: tuple[Aside, ...] = ()
    """Only where there is no claim to settle: messages acknowledged early that are set aside."""


NO_EFFECTS = Effects()


class Settlement(msgspec.Struct, frozen=True):
    """The end of one claim: refused as a whole, effects included, if it is no longer ours."""

    receipt: Receipt
    verdict: Verdict | None
    """None: keep the claim, perform the effects only (fenced all the same)."""
    effects: Effects = NO_EFFECTS
