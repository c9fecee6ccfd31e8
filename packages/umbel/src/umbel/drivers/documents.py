"""Reading the state out of a result document, and nothing else of it.

Differs because: Redis and RabbitMQ keep, as Celery does, only the document of a task; the state
that ``ResultRecord`` carries beside it must be read from inside. Called by the result backends and
watchers of both.
"""

from __future__ import annotations

import re

import msgspec

from umbel.errors import WireError
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.wire.compressors import decompress

UNREADABLE = "UNKNOWN"
"""The state of a document that does not tell one."""

_COMPRESSED = b"\x00celery-compressed\x00"
_FIRST_IN_JSON = re.compile(rb'\{"status": ?"([^"\\]+)"')
_ANYWHERE = re.compile(rb"status.{1,10}?([A-Z][A-Z_]{2,})", re.DOTALL)
"""Pickle, MessagePack and YAML keep the value within a few bytes of its key."""


class _Status(msgspec.Struct):
    status: str


_read_json = msgspec.json.Decoder(_Status).decode


def state_of(document: bytes) -> str:
    """Return the state that a document tells, or ``UNKNOWN``. Never raises."""
    # 0.4 µs for the form in which Celery and Umbel write nearly all of them.
    found = _FIRST_IN_JSON.match(document)
    if found is None and document[:1] == b"{":
        try:
            return _read_json(document).status
        except msgspec.DecodeError:
            return UNREADABLE
    if found is None and document.startswith(_COMPRESSED):
        mime, _, packed = document[len(_COMPRESSED) :].partition(b"\x00")
        try:
            return state_of(decompress(packed, mime.decode("ascii", "replace")))
        except WireError:
            return UNREADABLE
    if found is None:
        found = _ANYWHERE.search(document)
    return UNREADABLE if found is None else found[1].decode("utf-8", "replace")


def record_of(task_id: str, document: bytes) -> ResultRecord:
    """Return a stored document as a record. Its remaining life is not looked up."""
    state = state_of(document)
    return ResultRecord(
        task_id=task_id, state=state, document=document, final=state in READY_STATES
    )
