"""What is set aside: a queue beside each queue, and why in the headers.

Used by ``consumer`` and ``shelves``. The message is as it came, so that whoever publishes it to its
queue again sends what was sent; the headers that begin with ``x-umbel-`` tell the rest. Pure but
for the clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from pamqp.commands import Basic

from umbel.drivers.amqp.frames import Delivered
from umbel.drivers.amqp.messages import (
    again,
    message_of,
    properties_of,
    raw_of,
    tried_before,
)
from umbel.drivers.amqp.priorities import Ranks
from umbel.errors import WireError
from umbel.model.delivery import Quarantine
from umbel.model.message import EncodedMessage
from umbel.model.shelves import Shelved
from umbel.wire import envelope

REASON, DETAIL, ERROR = "x-umbel-reason", "x-umbel-detail", "x-umbel-error"
QUEUE, COUNT = "x-umbel-queue", "x-umbel-count"
WORKER, SET_ASIDE = "x-umbel-worker", "x-umbel-set-aside"
KEY, PRIORITY = "x-umbel-key", "x-umbel-priority"
"""What names the message as long as it rests; its priority as its own queue writes it."""
NO_MESSAGE = "x-umbel-no-message"
"""The body is all there is: it could not be read as a message."""
_NOTES = (REASON, DETAIL, ERROR, QUEUE, COUNT, WORKER, SET_ASIDE, KEY, PRIORITY, NO_MESSAGE)
_LONGEST = 2000
"""Characters of a detail: the headers of a message have to fit into one frame."""
_UNKNOWN = datetime.fromtimestamp(0, UTC)


def quarantined(
    message: EncodedMessage,
    verdict: Quarantine,
    *,
    queue: str,
    count: int,
    worker: str | None,
    priority: int | None = None,
) -> EncodedMessage:
    """Return the message with why, where from, by whom, when and after how many deliveries."""
    plain = again(message, tried=tried_before(message.headers))
    now = time.time_ns()
    headers: dict[str, Any] = {
        **plain.headers,
        REASON: verdict.reason[:_LONGEST],
        DETAIL: (verdict.detail or "")[:_LONGEST],
        QUEUE: queue,
        COUNT: count,
        WORKER: worker or "",
        SET_ASIDE: datetime.fromtimestamp(now / 1e9, UTC).isoformat(),
        # In the order of time, and no other message's.
        KEY: f"{now:020d}-{os.urandom(6).hex()}",
    }
    if verdict.error is not None:
        headers[ERROR] = verdict.error
    if priority is not None:
        headers[PRIORITY] = priority
    return msgspec.structs.replace(plain, headers=headers)


def opened(raw: bytes) -> EncodedMessage:
    """Return what an envelope holds; of bytes that are none, a message that is only these."""
    with contextlib.suppress(WireError):
        return envelope.load(raw)
    return EncodedMessage(
        headers={NO_MESSAGE: True},
        properties={},
        body=raw,
        content_type="application/octet-stream",
        content_encoding="binary",
    )


def shelved(event: Delivered, queue: str, ranks: Ranks) -> Shelved:
    """Return what is told of a message that lies in the quarantine of ``queue``."""
    message = message_of(event, ranks)
    # How it came here is nobody's affair, and is different each time that somebody looks.
    came = {"exchange": "", "routing_key": queue}
    message = msgspec.structs.replace(
        message, properties={**message.properties, "delivery_info": came}
    )
    notes = message.headers
    moment = _moment(notes.get(SET_ASIDE))
    count = notes.get(COUNT)
    return Shelved(
        id=_key(event, notes, moment),
        queue=queue,
        raw=message.body if notes.get(NO_MESSAGE) else raw_of(_without_notes(message)),
        at=moment,
        count=count if isinstance(count, int) else 0,
        reason=str(notes.get(REASON) or ""),
        detail=_text(notes.get(DETAIL)),
        error=_text(notes.get(ERROR)),
        worker=_text(notes.get(WORKER)),
    )


def properties_back(event: Delivered, message: EncodedMessage) -> Basic.Properties:
    """Return the properties with which a message leaves the quarantine for its queue."""
    properties = properties_of(again(_without_notes(message), tried=0))
    noted = (event.properties.headers or {}).get(PRIORITY)
    properties.priority = noted if isinstance(noted, int) else event.properties.priority
    return properties


def _without_notes(message: EncodedMessage) -> EncodedMessage:
    headers = {name: value for name, value in message.headers.items() if name not in _NOTES}
    return msgspec.structs.replace(message, headers=headers)


def _key(event: Delivered, notes: Mapping[str, Any], moment: datetime) -> str:
    noted = notes.get(KEY)
    if isinstance(noted, str):
        return noted
    # Put there by hand, or by another program: what it is names it.
    content = repr(sorted(notes.items(), key=str)).encode() + event.body
    return f"{int(moment.timestamp() * 1e9):020d}-{hashlib.sha256(content).hexdigest()[:12]}"


def _moment(text: Any) -> datetime:
    with contextlib.suppress(TypeError, ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return _UNKNOWN


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
