"""Encoded messages as AMQP properties, and back.

Used by ``publisher`` and ``consumer``. On this broker a message is plain Celery protocol 2: the
headers are the header table, the body is the payload. What a consumer hands out is the envelope
that the worker's floors read. Opens no socket.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pamqp.commands import Basic

from umbel.drivers.amqp.frames import Delivered
from umbel.drivers.amqp.priorities import AS_THEY_ARE, Ranks
from umbel.errors import EncodeError
from umbel.model.message import EncodedMessage
from umbel.wire import envelope

COUNT_HEADER = "x-umbel-deliveries"
"""How often the message was tried before it was published anew: RabbitMQ cannot be told a count."""
NATIVE_COUNT = "x-delivery-count"
"""What a quorum queue says of how often it got the message back."""

_OURS = frozenset({"correlation_id", "reply_to", "priority", "delivery_mode", "expiration"})
_PLAIN = ("message_id", "message_type", "user_id", "app_id", "cluster_id")


def properties_of(message: EncodedMessage, ranks: Ranks = AS_THEY_ARE) -> Basic.Properties:
    """Return what is sent with the body.

    The broker is not told of the expiry of a task: it would drop the message without a trace, and
    whoever waits for the result would wait for ever. Workers read the expiry in the headers.
    """
    given = message.properties
    expiration = given.get("expiration")
    if expiration is not None and message.headers.get("expires") is not None:
        expiration = None
    properties = Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        delivery_mode=given.get("delivery_mode") or 2,
        priority=ranks.sent(given.get("priority")),
        correlation_id=given.get("correlation_id"),
        reply_to=given.get("reply_to"),
        expiration=None if expiration is None else str(expiration),
    )
    for name in _PLAIN:
        value = given.get("type" if name == "message_type" else name)
        if value is not None:
            setattr(properties, name, str(value))
    return properties


def unsendable(message: EncodedMessage, error: Exception) -> EncodeError:
    """Return the error for a message that AMQP has no form for."""
    name = message.headers.get("task", "?")
    return EncodeError(
        f"The message of task {name!r} cannot be sent by AMQP: {error}. Its headers and properties "
        "take texts, numbers, moments, lists and mappings of these."
    )


def message_of(delivered: Delivered, ranks: Ranks = AS_THEY_ARE) -> EncodedMessage:
    """Return what was sent, with how it was delivered among the properties."""
    found = delivered.properties
    headers = dict(found.headers or {})
    properties: dict[str, Any] = {
        "correlation_id": found.correlation_id,
        "reply_to": found.reply_to,
        "priority": ranks.received(found.priority),
        "delivery_mode": found.delivery_mode or 1,
        "delivery_info": {
            "exchange": delivered.exchange,
            "routing_key": delivered.routing_key,
            "redelivered": delivered.redelivered,
        },
    }
    if found.expiration is not None:
        properties["expiration"] = found.expiration
    for name in _PLAIN:
        value = getattr(found, name)
        if value is not None:
            properties["type" if name == "message_type" else name] = value
    return EncodedMessage(
        headers=headers,
        properties=properties,
        body=delivered.body,
        content_type=found.content_type or "",
        content_encoding=found.content_encoding or "",
    )


def raw_of(message: EncodedMessage) -> bytes:
    """Return the envelope that the worker reads."""
    try:
        return envelope.dump_compact(message)
    except Exception:  # noqa: BLE001 - a header of some other program's; the message must go on
        headers = {str(name): _harmless(value) for name, value in message.headers.items()}
        return envelope.dump_compact(
            EncodedMessage(
                headers=headers,
                properties=message.properties,
                body=message.body,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
            )
        )


def _harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _harmless(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(each) for each in value]
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, str | int | float | None) else repr(value)


def tried_before(headers: Mapping[str, Any]) -> int:
    """Return how often the message was claimed before, as far as it says so itself."""
    total = 0
    for name in (COUNT_HEADER, NATIVE_COUNT):
        value = headers.get(name)
        if isinstance(value, int) and value > 0:
            total += value
    return total


def again(message: EncodedMessage, *, tried: int) -> EncodedMessage:
    """Return the message as it is published anew, ``tried`` times claimed."""
    headers = {name: value for name, value in message.headers.items() if name != NATIVE_COUNT}
    headers.pop(COUNT_HEADER, None)
    headers.pop("x-death", None)
    if tried > 0:
        headers[COUNT_HEADER] = tried
    properties = {
        name: each for name, each in message.properties.items() if name != "delivery_info"
    }
    return EncodedMessage(
        headers=headers,
        properties=properties,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
    )
