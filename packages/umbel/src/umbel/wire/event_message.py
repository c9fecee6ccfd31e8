"""Events as they travel: one mapping, or an array of them in one message.

Written for ``worker.remote`` and ``app.events``, read for monitors. Celery's monitors read what is
written here; both forms are read whoever wrote them.

``utcoffset`` is left out on purpose: timestamps are Unix times, and a receiver that finds the field
would shift them by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umbel.errors import DecodeError
from umbel.model.message import EncodedMessage
from umbel.ports import Serializer
from umbel.wire import tagged_json
from umbel.wire.serializers import JSON, SERIALIZERS

MANY = "task.multi"
"""The key of a message with an array."""


def key_of(event_type: str) -> str:
    """Return the key an event is told under: ``worker-online`` is ``worker.online``."""
    return event_type.replace("-", ".")


def encode_one(event: Mapping[str, Any], serializer: Serializer) -> EncodedMessage:
    """Return one event as it travels. Raises EncodeError."""
    return _message(serializer.dumps(event), str(event.get("hostname") or ""), serializer)


def encode_many(
    events: Sequence[Mapping[str, Any]], hostname: str, serializer: Serializer
) -> EncodedMessage:
    """Return events of one sender, made of texts, numbers and lists of these, as one message.

    Raises EncodeError.
    """
    return _message(_body(events, serializer), hostname, serializer)


def _message(body: bytes, hostname: str, serializer: Serializer) -> EncodedMessage:
    return EncodedMessage(
        headers={"hostname": hostname},
        properties={"delivery_mode": 1, "priority": 0},
        body=body,
        content_type=serializer.content_type,
        content_encoding=serializer.content_encoding,
    )


def _body(content: Any, serializer: Serializer) -> bytes:
    if serializer is JSON:
        try:
            return tagged_json.dumps_exact(content)  # a fifth of the time
        except UnicodeEncodeError:
            pass  # half a surrogate pair
    return serializer.dumps(content)


def decode(message: EncodedMessage, accept: frozenset[str]) -> list[dict[str, Any]]:
    """Return the events in a message.

    Raises ContentDisallowed for a content type that is not in ``accept``, and DecodeError for what
    is no event: nothing is trusted that comes over a bus.
    """
    content = SERIALIZERS.loads(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        accept=accept,
    )
    events = content if isinstance(content, list) else [content]
    for event in events:
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise DecodeError(f"not an event: {event!r:.100}")
    return events
