"""Task protocol 2, writing: a TaskMessage becomes headers, properties and a body.

Called by ``app.sending`` for every message sent. The body is ``[args, kwargs, embed]``; everything
a worker needs before it opens the body is in the headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from umbel.errors import EncodeError
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.ports import Serializer
from umbel.wire import tagged_json
from umbel.wire.compressors import compress
from umbel.wire.fields import TRANSPORT_HEADERS
from umbel.wire.reprs import safe_repr
from umbel.wire.serializers import JsonSerializer

_NO_EMBED = b'{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'

_BROKER_HEADERS = ("x-death", "x-first-death-", "x-last-death-")
"""Written by RabbitMQ about one journey; a message sent again begins a new one."""


def encode(
    message: TaskMessage,
    *,
    serializer: Serializer,
    compression: str | None = None,
    now: datetime | None = None,
) -> EncodedMessage:
    """Return the message as protocol 2 puts it.

    ``now`` (aware; the current time unless given) only serves the broker property ``expiration``,
    milliseconds to live. Raises EncodeError naming the argument that the serializer cannot write,
    ImproperlyConfigured for an unknown compression.
    """
    args = message.args
    kwargs = message.kwargs
    if not isinstance(args, tuple | list):
        args = tuple(args)
    if not isinstance(kwargs, dict):
        kwargs = dict(kwargs)
    headers = _headers(message, args, kwargs)
    body = _body(message, args, kwargs, serializer)
    if compression:
        body, headers["compression"] = compress(body, compression)
    return EncodedMessage(
        headers=headers,
        properties=_properties(message, now),
        body=body,
        content_type=serializer.content_type,
        content_encoding=serializer.content_encoding,
    )


def _headers(message: TaskMessage, args: Any, kwargs: Any) -> dict[str, Any]:
    argsrepr = message.argsrepr
    kwargsrepr = message.kwargsrepr
    headers = {
        "lang": "py",
        "task": message.task,
        "id": message.id,
        "shadow": message.shadow,
        "eta": None if message.eta is None else message.eta.isoformat(),
        "expires": None if message.expires is None else message.expires.isoformat(),
        "group": message.group_id,
        "group_index": message.group_index,
        "retries": message.retries,
        "timelimit": [message.time_limit, message.soft_time_limit],
        "root_id": message.root_id or message.id,
        "parent_id": message.parent_id,
        "argsrepr": safe_repr(args) if argsrepr is None else argsrepr,
        "kwargsrepr": safe_repr(kwargs) if kwargsrepr is None else kwargsrepr,
        "origin": message.origin,
        "ignore_result": message.ignore_result,
        "replaced_task_nesting": message.replaced_task_nesting,
        "stamped_headers": message.stamped_headers,
        "stamps": message.stamps,
    }
    if message.headers:
        headers.update(
            (name, value)
            for name, value in message.headers.items()
            if name not in TRANSPORT_HEADERS and not name.startswith(_BROKER_HEADERS)
        )
    return headers


def _properties(message: TaskMessage, now: datetime | None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "correlation_id": message.correlation_id or message.id,
        "delivery_mode": 2,
        "priority": message.priority or 0,
    }
    if message.reply_to is not None:
        properties["reply_to"] = message.reply_to
    if message.expires is not None:
        left = (message.expires - (now or datetime.now(UTC))).total_seconds()
        properties["expiration"] = str(max(0, round(left * 1000)))
    if message.properties:
        properties.update(message.properties)
    return properties


def _body(message: TaskMessage, args: Any, kwargs: Any, serializer: Serializer) -> bytes:
    plain = (
        message.callbacks is None
        and message.errbacks is None
        and message.chain is None
        and message.chord is None
    )
    try:
        if plain and type(serializer) is JsonSerializer:
            # In parts, because a flat list is what the fast JSON writer takes: 0.5 µs against 1.2.
            tail = tagged_json.dumps(kwargs) if kwargs else b"{}"
            return b"[%b,%b,%b]" % (tagged_json.dumps(args), tail, _NO_EMBED)
        embed = {
            "callbacks": message.callbacks,
            "errbacks": message.errbacks,
            "chain": message.chain,
            "chord": message.chord,
        }
        return serializer.dumps((args, kwargs, embed))
    except EncodeError as error:
        raise _teach(message, args, kwargs, serializer, error) from error


def _teach(
    message: TaskMessage, args: Any, kwargs: Mapping[str, Any], serializer: Serializer, error: Any
) -> EncodeError:
    """Say which argument it was, whatever the serializer."""
    named = [(f"positional argument {index}", value) for index, value in enumerate(args)]
    named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
    for name, value in named:
        try:
            serializer.dumps(value)
        except EncodeError as why:
            return EncodeError(
                f"{message.task} cannot be sent: its {name} is not something the serializer "
                f"{serializer.name!r} can write ({why})"
            )
    return EncodeError(f"{message.task} cannot be sent: {error}")
