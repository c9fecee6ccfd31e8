"""Bytes into events, whatever pieces they come in."""

from __future__ import annotations

import pytest
from pamqp import commands, frame

from umbel.drivers.amqp.frames import (
    HEARTBEAT,
    Assembler,
    Confirmed,
    Delivered,
    Event,
    Method,
    Returned,
    ack_frame,
    content_frames,
    method_frame,
    publish_frame,
    requeue_frame,
)

PROPERTIES = commands.Basic.Properties(content_type="application/json", headers={"id": "x"})


def delivery(body: bytes, frame_max: int = 4096) -> bytes:
    method = commands.Basic.Deliver("umbel-1", 7, True, "exchange", "key.ü")
    return method_frame(1, method) + b"".join(content_frames(1, PROPERTIES, body, frame_max))


def events_of(data: bytes, step: int) -> list[Event]:
    assembler = Assembler()
    found: list[Event] = []
    for start in range(0, len(data), step):
        found += assembler.feed(data[start : start + step])
    return found


@pytest.mark.parametrize("step", [1, 2, 7, 64, 100_000])
def test_a_message_in_pieces(step: int) -> None:
    large = bytes(range(256)) * 40
    data = delivery(b"[]") + HEARTBEAT + delivery(large, 4096) + delivery(b"")
    first, second, third = events_of(data, step)
    for event, body in ((first, b"[]"), (second, large), (third, b"")):
        assert isinstance(event, Delivered)
        assert (event.consumer_tag, event.tag, event.redelivered) == ("umbel-1", 7, True)
        assert (event.exchange, event.routing_key) == ("exchange", "key.ü")
        assert event.properties.headers == {"id": "x"}
        assert event.body == body


def test_messages_of_two_channels_between_each_other() -> None:
    one = [method_frame(1, commands.Basic.Deliver("a", 1, False, "", "q")), *_content(1, b"one")]
    two = [method_frame(2, commands.Basic.Deliver("b", 2, False, "", "q")), *_content(2, b"two")]
    woven = b"".join(part for pair in zip(one, two, strict=True) for part in pair)
    found = events_of(woven, 1000)
    assert [(event.channel, event.body) for event in found if isinstance(event, Delivered)] == [
        (1, b"one"),
        (2, b"two"),
    ]


def _content(channel: int, body: bytes) -> list[bytes]:
    pieces = content_frames(channel, PROPERTIES, body, 4096)
    return [b"".join(pieces[:3]), b"".join(pieces[3:])]


def test_confirms_and_returns() -> None:
    data = method_frame(1, commands.Basic.Ack(4, True)) + method_frame(1, commands.Basic.Nack(5))
    data += method_frame(1, commands.Basic.Return(312, "NO_ROUTE", "", "nowhere"))
    data += b"".join(content_frames(1, PROPERTIES, b"x", 4096))
    good, bad, returned = events_of(data, 11)
    assert good == Confirmed(1, 4, True, True)
    assert isinstance(bad, Confirmed)
    assert (bad.tag, bad.good) == (5, False)
    assert isinstance(returned, Returned)
    assert (returned.code, returned.routing_key, returned.body) == (312, "nowhere", b"x")


def test_everything_else_is_a_method() -> None:
    (event,) = events_of(method_frame(3, commands.Channel.OpenOk()), 4)
    assert isinstance(event, Method)
    assert (event.channel, type(event.method)) == (3, commands.Channel.OpenOk)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"AMQP\x00\x00\x09\x01", "another version of AMQP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak AMQP"),
        (b"\x15\x03\x01\x00\x02\x02\x46\x00\x00\x00", "does not speak AMQP"),
        (method_frame(1, commands.Channel.OpenOk())[:-1] + b"\x00", "does not end where it should"),
        (b"".join(content_frames(1, PROPERTIES, b"x", 4096)), "content without a method"),
    ],
)
def test_what_is_not_amqp(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        events_of(data, len(data))


def test_what_is_put_together_by_hand_is_what_the_codec_reads() -> None:
    for data, kind in (
        (ack_frame(2, 9, multiple=True), commands.Basic.Ack),
        (requeue_frame(2, 9), commands.Basic.Reject),
    ):
        taken, channel, method = frame.unmarshal(data)
        assert (taken, channel, type(method)) == (len(data), 2, kind)
        assert method.delivery_tag == 9
    _, _, publish = frame.unmarshal(publish_frame(2, "here", "there"))
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("here", "there", True)


def test_headers_that_do_not_fit_into_a_frame_are_refused() -> None:
    many = commands.Basic.Properties(headers={"x": "y" * 5000})
    with pytest.raises(ValueError, match=r"its headers take .* bytes, the broker allows 4096"):
        content_frames(1, many, b"", 4096)
