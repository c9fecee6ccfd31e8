"""Ends that the supervisor finds, told by an executor: a hard time limit, a process that died.

Who is called because a task failed (``link_error``, the body of its chord) is written in the body
of its message, may be called right where user code lives, and is found by the app: all of that is
an executor's. So where somebody is to be called, the message goes to one once more, with an
obituary in the place of a run. What it reports is added to the end that ``endings`` has made;
should it die over it as well, that end is settled as it is.
"""

from __future__ import annotations

import msgspec

from umbel.drivers.elsewhere import outgoing_of
from umbel.errors import ImproperlyConfigured, TimeLimitExceeded, WireError, WorkerLostError
from umbel.model.assignment import Obituary, Report
from umbel.model.delivery import Effects, Requeue, Settlement
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_message import decode

HARMLESS = SERIALIZERS.content_types(["json", "yaml", "msgpack"])
"""What a supervisor may open: reading the others may run anything."""


class Found(msgspec.Struct, frozen=True):
    """An end that the supervisor has found; an executor is to tell who follows."""

    settlement: Settlement
    state: str
    """What it counts as."""
    error: TimeLimitExceeded | WorkerLostError

    @property
    def obituary(self) -> Obituary:
        """What the executor is told."""
        return Obituary(isinstance(self.error, TimeLimitExceeded), self.error.args)


def is_followed(raw: bytes, settlement: Settlement) -> bool:
    """Whether somebody is to be called, or may be: what must not be opened here may say so."""
    if isinstance(settlement.verdict, Requeue):
        return False  # it runs again
    try:
        message = decode(envelope.load(raw), accept=HARMLESS, serializers=SERIALIZERS)
    except (WireError, ImproperlyConfigured):
        return True
    return bool(message.errbacks or message.chord or message.chain)


def error_of(obituary: Obituary) -> TimeLimitExceeded | WorkerLostError:
    """Return the error that the supervisor found."""
    kind = TimeLimitExceeded if obituary.timed_out else WorkerLostError
    return kind(*obituary.args)


def completed(found: Found, report: Report) -> Settlement:
    """Return the settlement with what follows, if the executor could tell."""
    if report.state != "FAILURE":
        return found.settlement
    outgoing = tuple(map(outgoing_of, report.outgoing))
    effects = Effects(report.records, outgoing, report.joins)
    return msgspec.structs.replace(found.settlement, effects=effects)
