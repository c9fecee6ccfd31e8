"""The envelope around an encoded message, where the store keeps one value per message.

Two forms. kombu's (a JSON object with a base64 body) wherever Celery processes may share the
queues; a compact one (a MessagePack array with the body as it is) elsewhere. The first byte tells:
kombu's begins with ``{``, the compact form never does.

Drivers write envelopes; the worker peeks at those it claims without opening the body, and the
executor loads the one it runs.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from umbel.errors import DecodeError, EncodeError
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire import tagged_json
from umbel.wire.fields import message_from
from umbel.wire.moments import read_moment
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.wire.task_message import decode

# --- writing --------------------------------------------------------------------------------------

_PLAIN: frozenset[type] = frozenset({str, int, bool, type(None)})
_STR: frozenset[type] = frozenset({str})
_json_encode = tagged_json.dumps_exact
_msgpack_encode = msgspec.msgpack.Encoder().encode


def _is_plain(mapping: Mapping[str, Any]) -> bool:
    """Tell whether msgspec writes the mapping as tagged JSON would: plain values, two levels deep.

    0.7 µs for a task's headers; what it allows saves 2.4.
    """
    for value in mapping.values():
        # The time limits and the stamps, mostly; the first is a flat list, the second empty.
        if type(value) not in _PLAIN and value != {} and not tagged_json.is_exact(value):
            return False
    return _STR.issuperset(map(type, mapping))


def _dump_json(mapping: Mapping[str, Any]) -> bytes:
    if _is_plain(mapping):
        try:
            return _json_encode(mapping)
        except UnicodeEncodeError:
            pass  # a lone surrogate: only the escaping encoder can write it
    return tagged_json.dumps(dict(mapping))


def dump_kombu(
    message: EncodedMessage,
    *,
    exchange: str,
    routing_key: str,
    delivery_tag: str,
    redelivered: bool = False,
) -> bytes:
    """Return the message as kombu's transports keep it.

    ``delivery_tag`` names the message for all its life, redeliveries included. Raises EncodeError
    when a header has no JSON form.
    """
    delivery_info: dict[str, Any] = {"exchange": exchange, "routing_key": routing_key}
    if redelivered:
        delivery_info["redelivered"] = True
    properties = {
        **message.properties,
        "delivery_info": delivery_info,
        "body_encoding": "base64",
        "delivery_tag": delivery_tag,
    }
    return b'{"body":"%b","content-encoding":%b,"content-type":%b,"headers":%b,"properties":%b}' % (
        binascii.b2a_base64(message.body, newline=False),
        _json_encode(message.content_encoding),
        _json_encode(message.content_type),
        _dump_json(message.headers),
        _dump_json(properties),
    )


def dump_kombu_text(
    message: EncodedMessage, *, exchange: str, routing_key: str, delivery_tag: str
) -> bytes:
    """Do as ``dump_kombu``, with the body as text in its place: readable, and longer.

    Raises EncodeError when the body is no UTF-8.
    """
    whole = dump_kombu(
        msgspec.structs.replace(message, body=b""),
        exchange=exchange,
        routing_key=routing_key,
        delivery_tag=delivery_tag,
    )
    try:
        body = _json_encode(message.body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise EncodeError("the body of a message is no text, so it cannot travel as one") from error
    whole = whole.replace(b',"body_encoding":"base64"', b"", 1)
    return b'{"body":' + body + whole[len(b'{"body":""') :]


_PLAIN_FORM = 1
_TAGGED_FORM = 2
"""Headers and properties are one JSON text: they hold values MessagePack has no form for."""


def dump_compact(message: EncodedMessage) -> bytes:
    """Return the message as Umbel's own stores keep it. Raises EncodeError."""
    headers, properties = message.headers, message.properties
    if _is_plain(headers) and _is_plain(properties):
        try:
            return _msgpack_encode(
                (
                    _PLAIN_FORM,
                    headers,
                    properties,
                    message.content_type,
                    message.content_encoding,
                    message.body,
                )
            )
        except (UnicodeEncodeError, OverflowError):
            pass  # a lone surrogate, or an int beyond 64 bits
    return _msgpack_encode(
        (
            _TAGGED_FORM,
            tagged_json.dumps(dict(headers)),
            tagged_json.dumps(dict(properties)),
            message.content_type,
            message.content_encoding,
            message.body,
        )
    )


# --- reading --------------------------------------------------------------------------------------


class _Kombu(
    msgspec.Struct, rename={"content_type": "content-type", "content_encoding": "content-encoding"}
):
    body: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    content_type: str | None = None
    content_encoding: str | None = None


class _Compact(msgspec.Struct, array_like=True):
    form: int
    headers: dict[str, Any] | bytes
    properties: dict[str, Any] | bytes
    content_type: str
    content_encoding: str
    body: bytes


_decode_kombu = msgspec.json.Decoder(_Kombu).decode
_decode_compact = msgspec.msgpack.Decoder(_Compact).decode


def load(raw: bytes) -> EncodedMessage:
    """Return the message in an envelope of either form. Raises DecodeError."""
    if raw[:1] != b"{":
        return _load_compact(raw)
    if not tagged_json.may_hold_tags(raw):
        try:
            found = _decode_kombu(raw)
        except tagged_json.MSGSPEC_REFUSALS:
            pass  # the tolerant reader below either manages or says what is wrong
        else:
            return _opened(
                found.body,
                found.headers,
                found.properties,
                found.content_type,
                found.content_encoding,
            )
    content = tagged_json.loads(raw)
    body = content.get("body")
    headers = content.get("headers") or {}
    properties = content.get("properties") or {}
    if not isinstance(body, str):
        raise DecodeError(f"the envelope has {_kind(body)} for a body, where kombu has a text")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        raise DecodeError(
            f"the envelope has {_kind(headers)} for headers and {_kind(properties)} for "
            f"properties; both are objects in kombu's"
        )
    return _opened(
        body, headers, properties, content.get("content-type"), content.get("content-encoding")
    )


def _opened(
    body: str,
    headers: dict[str, Any],
    properties: dict[str, Any],
    content_type: Any,
    content_encoding: Any,
) -> EncodedMessage:
    encoding = properties.pop("body_encoding", None)
    try:
        if encoding == "base64":
            data = binascii.a2b_base64(body)
        elif encoding is None or encoding == "utf-8":
            data = body.encode("utf-8", "surrogatepass")
        else:
            raise DecodeError(f"the body of the envelope is encoded as {encoding!r}, not base64")
    except ValueError as error:
        raise DecodeError(f"the body of the envelope is not base64: {error}") from error
    return EncodedMessage(
        headers=headers,
        properties=properties,
        body=data,
        content_type=content_type or "",
        content_encoding=content_encoding or "",
    )


def _load_compact(raw: bytes) -> EncodedMessage:
    try:
        found = _decode_compact(raw)
    except tagged_json.MSGSPEC_REFUSALS as error:
        raise DecodeError(
            f"neither kombu's envelope nor Umbel's: {error} (it begins {raw[:20]!r})"
        ) from error
    headers, properties = found.headers, found.properties
    if isinstance(headers, bytes):
        headers = _object(headers)
    if isinstance(properties, bytes):
        properties = _object(properties)
    return EncodedMessage(
        headers=headers,
        properties=properties,
        body=found.body,
        content_type=found.content_type,
        content_encoding=found.content_encoding,
    )


def _object(data: bytes) -> dict[str, Any]:
    value = tagged_json.loads(data)
    if not isinstance(value, dict):
        raise DecodeError(f"the envelope has {_kind(value)} where headers or properties belong")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


# --- peeking --------------------------------------------------------------------------------------


class Peek(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor needs to know of a message before anybody opens its body.

    Limits are seconds; ``eta`` and ``expires`` aware; ``delivery_tag`` is empty where the envelope
    has none.
    """

    task: str
    id: str
    eta: datetime | None
    expires: datetime | None
    retries: int
    soft_limit: float | None
    hard_limit: float | None
    ignore_result: bool | None
    priority: int
    shadow: str | None
    root_id: str | None
    parent_id: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    delivery_tag: str
    redelivered: bool
    reply_to: str | None = None


class _PeekHeaders(msgspec.Struct):
    task: str
    id: str
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    timelimit: tuple[float | None, float | None] | None = None
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    ignore_result: bool | None = None
    redelivered: bool | None = None


class _PeekDeliveryInfo(msgspec.Struct):
    redelivered: bool | None = None


class _PeekProperties(msgspec.Struct):
    priority: int | None = None
    reply_to: str | None = None
    delivery_tag: str = ""
    delivery_info: _PeekDeliveryInfo | None = None


class _PeekKombu(msgspec.Struct):
    headers: _PeekHeaders
    properties: _PeekProperties


class _PeekCompact(msgspec.Struct, array_like=True):
    form: int
    headers: _PeekHeaders
    properties: _PeekProperties


_peek_kombu = msgspec.json.Decoder(_PeekKombu).decode
_peek_compact = msgspec.msgpack.Decoder(_PeekCompact).decode


def peek(raw: bytes) -> Peek:
    """Return what the headers of an envelope tell.

    The body stays closed, unless the message is of protocol 1, which has everything in there: then
    it must be JSON. Raises DecodeError or UnsupportedProtocol for what is not a task message.
    """
    try:
        # Typed decoding skips what is not asked for: 1.5 µs, against 7 for load and look.
        found = _peek_kombu(raw) if raw[:1] == b"{" else _peek_compact(raw)
    except tagged_json.MSGSPEC_REFUSALS:
        return _peek_slowly(raw)  # protocol 1, tagged values, other types: or simply wrong
    headers, properties = found.headers, found.properties
    if not headers.task or not headers.id:
        return _peek_slowly(raw)
    info = properties.delivery_info
    hard, soft = headers.timelimit or (None, None)
    eta, expires = headers.eta, headers.expires
    return Peek(
        task=headers.task,
        id=headers.id,
        eta=None if eta is None else read_moment(eta, f"the eta of task {headers.task!r}"),
        expires=None
        if expires is None
        else read_moment(expires, f"the expiry of task {headers.task!r}"),
        retries=headers.retries or 0,
        soft_limit=soft,
        hard_limit=hard,
        ignore_result=headers.ignore_result,
        priority=properties.priority or 0,
        shadow=headers.shadow,
        root_id=headers.root_id,
        parent_id=headers.parent_id,
        argsrepr=headers.argsrepr,
        kwargsrepr=headers.kwargsrepr,
        delivery_tag=properties.delivery_tag,
        redelivered=bool(headers.redelivered or (info is not None and info.redelivered)),
        reply_to=properties.reply_to,
    )


def _peek_slowly(raw: bytes) -> Peek:
    encoded = load(raw)
    headers, properties = encoded.headers, encoded.properties
    if headers.get("task") is None:
        message = _open_body(encoded)
    else:
        message = message_from(headers, properties, (), {}, None)
    info = properties.get("delivery_info")
    return Peek(
        task=message.task,
        id=message.id,
        eta=message.eta,
        expires=message.expires,
        retries=message.retries,
        soft_limit=message.soft_time_limit,
        hard_limit=message.time_limit,
        ignore_result=message.ignore_result,
        priority=message.priority or 0,
        shadow=message.shadow,
        root_id=message.root_id,
        parent_id=message.parent_id,
        argsrepr=message.argsrepr,
        kwargsrepr=message.kwargsrepr,
        delivery_tag=str(properties.get("delivery_tag") or ""),
        redelivered=bool(
            headers.get("redelivered") or (isinstance(info, dict) and info.get("redelivered"))
        ),
        reply_to=message.reply_to,
    )


def _open_body(encoded: EncodedMessage) -> TaskMessage:
    return decode(encoded, accept=frozenset({JSON.content_type}), serializers=SERIALIZERS)
