"""Bytes into events and messages into bytes: AMQP 0-9-1 without a socket.

Used by ``connection``. ``pamqp`` knows the protocol's methods and tables; what is on the way of
every message (deliveries, confirms, acknowledgements, the publish method) is taken apart or put
together here, because ``pamqp`` takes 4 µs for each method (docs/design/0012).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
from pamqp import base, commands, frame, header
from pamqp.commands import Basic

FRAME_END = b"\xce"
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
GREETING = b"AMQP\x00\x00\x09\x01"

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_head = struct.Struct(">BHI")
_index = struct.Struct(">I").unpack_from
_tagged = struct.Struct(">QB").unpack_from
_ack = struct.Struct(">BHIIQBc")
_reject = struct.Struct(">BHIIQBc")
_content = struct.Struct(">HHQ").unpack_from
_DELIVER, _RETURN = Basic.Deliver.index, Basic.Return.index
_ACK, _NACK, _REJECT = Basic.Ack.index, Basic.Nack.index, Basic.Reject.index


class Method(msgspec.Struct, frozen=True):
    """Anything that is not below."""

    channel: int
    method: base.Frame


class Delivered(msgspec.Struct):
    """One message that the broker handed to a consumer."""

    channel: int
    consumer_tag: str
    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Basic.Properties
    body: bytes


class Returned(msgspec.Struct):
    """One message that the broker found no queue for. Comes before its confirm."""

    channel: int
    code: int
    text: str
    exchange: str
    routing_key: str
    properties: Basic.Properties
    body: bytes


class Confirmed(msgspec.Struct, frozen=True):
    """The broker has this message, or with ``good`` false refuses it; and all before it."""

    channel: int
    tag: int
    multiple: bool
    good: bool


Event: TypeAlias = Method | Delivered | Returned | Confirmed


class Assembler:
    """Turns what a socket brings into events. Belongs to one connection.

    Raises ValueError where the bytes are not AMQP.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._open: dict[int, _Partial] = {}

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes in and yield what is complete. Must be drained."""
        buffer = self._buffer
        buffer += data
        if buffer[:4] == b"AMQP":
            raise ValueError("the server wants another version of AMQP")
        offset, end = 0, len(buffer)
        while end - offset >= 7:
            kind, channel, size = _head.unpack_from(buffer, offset)
            after = offset + 8 + size
            if after > end:
                if kind not in {_METHOD, _HEADER, _BODY, _HEARTBEAT}:
                    raise ValueError("the server does not speak AMQP")
                break
            payload = bytes(buffer[offset + 7 : after - 1])
            if buffer[after - 1] != 0xCE:
                raise ValueError("a frame does not end where it should")
            offset = after
            event = self._take(kind, channel, payload)
            if event is not None:
                yield event
        del buffer[:offset]

    def _take(self, kind: int, channel: int, payload: bytes) -> Event | None:
        if kind == _METHOD:
            return self._take_method(channel, payload)
        if kind == _HEARTBEAT:
            return None
        if kind not in {_HEADER, _BODY}:
            raise ValueError("the server does not speak AMQP")
        partial = self._open.get(channel)
        if partial is None:
            raise ValueError("content without a method before it")
        if kind == _HEADER:
            (_, _, partial.missing) = _content(payload)
            content = header.ContentHeader()
            content.unmarshal(payload)
            partial.event.properties = content.properties
        elif kind == _BODY:
            partial.pieces.append(payload)
            partial.missing -= len(payload)
        if partial.missing > 0:
            return None
        del self._open[channel]
        pieces = partial.pieces
        partial.event.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return partial.event

    def _take_method(self, channel: int, payload: bytes) -> Event | None:
        (index,) = _index(payload)
        if index == _DELIVER:
            self._open[channel] = _Partial(_delivered(channel, payload))
            return None
        if index in {_ACK, _NACK}:
            tag, bits = _tagged(payload, 4)
            return Confirmed(channel, tag, bool(bits & 1), index == _ACK)
        _, _, method = frame.unmarshal(
            _head.pack(_METHOD, channel, len(payload)) + payload + FRAME_END
        )
        assert isinstance(method, base.Frame)
        if isinstance(method, Basic.Return):
            event = Returned(
                channel,
                method.reply_code or 0,
                method.reply_text or "",
                method.exchange or "",
                method.routing_key or "",
                Basic.Properties(),
                b"",
            )
            self._open[channel] = _Partial(event)
            return None
        return Method(channel, method)


class _Partial(msgspec.Struct):
    event: Delivered | Returned
    missing: int = 1
    pieces: list[bytes] = []


def _delivered(channel: int, payload: bytes) -> Delivered:
    at = 4
    size = payload[at]
    consumer_tag = payload[at + 1 : at + 1 + size].decode()
    at += 1 + size
    tag, redelivered = _tagged(payload, at)
    at += 9
    size = payload[at]
    exchange = payload[at + 1 : at + 1 + size].decode("utf-8", "replace")
    at += 1 + size
    size = payload[at]
    routing_key = payload[at + 1 : at + 1 + size].decode("utf-8", "replace")
    return Delivered(
        channel,
        consumer_tag,
        tag,
        bool(redelivered),
        exchange,
        routing_key,
        Basic.Properties(),
        b"",
    )


# --- writing --------------------------------------------------------------------------------------


def method_frame(channel: int, method: base.Frame) -> bytes:
    """Return the frame of one method."""
    return frame.marshal(method, channel)


def ack_frame(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Return the frame that acknowledges a delivery, or with ``multiple`` all up to it."""
    return _ack.pack(_METHOD, channel, 13, _ACK, tag, multiple, FRAME_END)


def requeue_frame(channel: int, tag: int) -> bytes:
    """Return the frame that gives one delivery back to its queue."""
    return _reject.pack(_METHOD, channel, 13, _REJECT, tag, 1, FRAME_END)


def publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    """Return the method frame that begins a message; ``mandatory`` always."""
    return frame.marshal(
        commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True), channel
    )


def content_frames(
    channel: int, properties: Basic.Properties, body: bytes, frame_max: int
) -> list[bytes]:
    """Return the header and body frames of one message. Raises ValueError, TypeError."""
    payload = header.ContentHeader(body_size=len(body), properties=properties).marshal()
    frames = [_head.pack(_HEADER, channel, len(payload)), payload, FRAME_END]
    if len(payload) > frame_max - 8:
        raise ValueError(f"its headers take {len(payload)} bytes, the broker allows {frame_max}")
    most = frame_max - 8
    for start in range(0, len(body), most):
        piece = body if len(body) <= most else body[start : start + most]
        frames += (_head.pack(_BODY, channel, len(piece)), piece, FRAME_END)
    return frames
