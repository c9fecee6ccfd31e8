"""Built-in tasks that tell who follows a run, where the supervisor has found its end.

A supervisor finds that a run was killed, or could not be begun. ``celery.umbel_errbacks`` calls its
error callbacks, which are user code. ``celery.umbel_ended`` does all that follows, for a message
that a supervisor must not open. ``worker.workflow_ends`` makes the messages of both, sent with the
end of the run.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from umbel.app.context import Context
from umbel.errors import Ignore
from umbel.wire.portable_errors import from_portable

ERRBACKS_OPTIONS: Mapping[str, Any] = {
    "name": "celery.umbel_errbacks",
    "ignore_result": True,
    "acks_late": True,
}


ENDED_OPTIONS: Mapping[str, Any] = {**ERRBACKS_OPTIONS, "name": "celery.umbel_ended"}


class EndDue(msgspec.Struct, frozen=True):
    """The message of a run that ended without having run, where it came from, and how it ended."""

    raw: bytes
    queue: str
    state: str
    error: BaseException


class ErrbacksDue(msgspec.Struct, frozen=True):
    """Error callbacks to call, with the request and the error of the run that they are about."""

    request: Context
    signatures: Sequence[Mapping[str, Any]]
    error: BaseException


def call_errbacks(
    request: Mapping[str, Any], signatures: Sequence[Mapping[str, Any]], error: Mapping[str, Any]
) -> NoReturn:
    """Call the error callbacks of a run that failed."""
    directive = Ignore("its error callbacks are called")
    directive.outgoing = ErrbacksDue(Context(request), signatures, from_portable(error))
    raise directive


def tell_end(raw: str, queue: str, state: str, error: Mapping[str, Any]) -> NoReturn:
    """Do what follows a run that ended so; ``raw`` is its message, in base 64."""
    directive = Ignore("what follows it is told")
    directive.outgoing = EndDue(base64.b64decode(raw), queue, state, from_portable(error))
    raise directive
