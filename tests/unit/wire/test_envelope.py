"""Envelopes of both forms, whole and peeked at."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.errors import ContentDisallowed, DecodeError, EncodeError, UnsupportedProtocol
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire.envelope import Peek, dump_compact, dump_kombu, load, peek
from umbel.wire.serializers import JSON
from umbel.wire.task_v2 import encode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.dates()
    | st.binary()
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=5,
)
MAPPINGS = st.dictionaries(st.text() | st.just("\udfff"), VALUES, max_size=5)
ENCODED = st.builds(
    EncodedMessage,
    headers=MAPPINGS,
    properties=st.dictionaries(st.text("xyz"), VALUES, max_size=4),
    body=st.binary(),
    content_type=st.text("abc/-"),
    content_encoding=st.sampled_from(["utf-8", "binary"]),
)
TAG = "33333333-3333-4333-8333-333333333333"


def kombu(message: EncodedMessage, **more: Any) -> bytes:
    return dump_kombu(message, exchange="", routing_key="celery", delivery_tag=TAG, **more)


@given(ENCODED)
def test_kombus_form_is_read_back(message: EncodedMessage) -> None:
    loaded = load(kombu(message))
    added = {"delivery_info", "delivery_tag"}
    properties = {key: item for key, item in loaded.properties.items() if key not in added}
    assert (loaded.headers, properties) == (message.headers, message.properties)
    assert (loaded.body, loaded.content_type) == (message.body, message.content_type)
    assert loaded.properties["delivery_tag"] == TAG


@given(ENCODED)
def test_the_compact_form_is_read_back(message: EncodedMessage) -> None:
    raw = dump_compact(message)
    assert load(raw) == message
    assert raw[:1] != b"{"


@given(ENCODED)
def test_kombus_form_is_json_of_five_keys(message: EncodedMessage) -> None:
    envelope = json.loads(kombu(message))
    assert set(envelope) == {"body", "content-encoding", "content-type", "headers", "properties"}
    assert base64.b64decode(envelope["body"]) == message.body
    assert envelope["properties"]["body_encoding"] == "base64"
    assert envelope["properties"]["delivery_info"] == {"exchange": "", "routing_key": "celery"}


def test_a_header_without_a_form_is_an_encode_error() -> None:
    message = EncodedMessage(
        headers={"x": {1}}, properties={}, body=b"", content_type="a", content_encoding="b"
    )
    for dump in (kombu, dump_compact):
        with pytest.raises(EncodeError, match=r"a set at \['x'\]"):
            dump(message)


# --- what others write ----------------------------------------------------------------------------


def foreign(**changes: Any) -> bytes:
    envelope: dict[str, Any] = {
        "body": base64.b64encode(b"[[1], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "t.add", "id": "i1"},
        "properties": {"body_encoding": "base64", "delivery_tag": TAG},
    }
    envelope.update(changes)
    return json.dumps({key: item for key, item in envelope.items() if item is not ...}).encode()


def test_a_plain_text_body() -> None:
    for properties in ({}, {"body_encoding": "utf-8"}):
        assert load(foreign(body='["é"]', properties=properties)).body == '["é"]'.encode()


def test_missing_parts_are_left_to_the_reader_of_the_message() -> None:
    message = load(foreign(**{"content-type": ..., "content-encoding": None, "headers": None}))
    assert (message.content_type, message.content_encoding, message.headers) == ("", "", {})


def test_tagged_headers_are_native() -> None:
    tagged = {"__type__": "date", "__value__": "2020-01-02"}
    headers = {"task": "t", "id": "i", "day": tagged}
    assert load(foreign(headers=headers)).headers["day"] == date(2020, 1, 2)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"headers":{"task":"t","id":"i","x":' + b"[" * 100_000,
        b'{"headers":{"task":"t","id":"i","__value__":' + b"[" * 100_000,
        b"\x96\x01\x81\xa1x" + b"\x91" * 100_000,
    ],
)
def test_bottomless_envelopes(raw: bytes) -> None:
    for read in (load, peek):
        with pytest.raises(DecodeError, match="recursion"):
            read(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "neither kombu's envelope nor Umbel's"),
        (b"hello", "neither kombu's envelope nor Umbel's: .*it begins b'hello'"),
        (b"\x93\x01", "neither kombu's envelope nor Umbel's"),
        (b"{", "not valid JSON"),
        (b"{}", "has nothing for a body"),
        (foreign(body=3), "has a int for a body"),
        (foreign(headers=[1]), "has a list for headers and a dict for properties"),
        (foreign(properties="x"), "has a dict for headers and a str for properties"),
        (foreign(body="A", properties={"body_encoding": "base64"}), "is not base64"),
        (foreign(body="é", properties={"body_encoding": "base64"}), "is not base64"),
        (foreign(properties={"body_encoding": "rot13"}), "is encoded as 'rot13'"),
    ],
)
def test_broken_envelopes(raw: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load(raw)
    with pytest.raises((DecodeError, UnsupportedProtocol)):
        peek(raw[:-1])


# --- peeking --------------------------------------------------------------------------------------

ETA = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
FULL = TaskMessage(
    id="i1",
    task="t.add",
    args=(1,),
    eta=ETA,
    expires=ETA,
    retries=2,
    priority=4,
    time_limit=30,
    soft_time_limit=20.5,
    root_id="r",
    parent_id="p",
    ignore_result=True,
    shadow="s",
)
SEEN = Peek(
    task="t.add",
    id="i1",
    eta=ETA,
    expires=ETA,
    retries=2,
    soft_limit=20.5,
    hard_limit=30,
    ignore_result=True,
    priority=4,
    shadow="s",
    root_id="r",
    parent_id="p",
    argsrepr="(1,)",
    kwargsrepr="{}",
    delivery_tag=TAG,
    redelivered=False,
)


def compact(message: EncodedMessage) -> bytes:
    return dump_compact(
        EncodedMessage(
            headers=message.headers,
            properties={**message.properties, "delivery_tag": TAG},
            body=message.body,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
        )
    )


@pytest.mark.parametrize("dump", [kombu, compact])
@pytest.mark.parametrize("own", [{}, {"x-day": date(2020, 1, 2)}, {"x": "\ud800"}])
def test_peek_sees_what_was_sent(dump: Any, own: dict[str, Any]) -> None:
    from msgspec.structs import replace

    message = replace(FULL, headers=own)
    assert peek(dump(encode(message, serializer=JSON))) == SEEN


@pytest.mark.parametrize("dump", [kombu, compact])
def test_peek_sees_defaults(dump: Any) -> None:
    seen = peek(dump(encode(TaskMessage(id="i1", task="t.add"), serializer=JSON)))
    assert (seen.eta, seen.hard_limit, seen.soft_limit, seen.retries) == (None, None, None, 0)
    assert (seen.ignore_result, seen.priority, seen.root_id) == (None, 0, "i1")


def test_peek_does_not_open_the_body() -> None:
    assert peek(foreign(body="!!!")).id == "i1"
    assert peek(foreign(**{"content-type": "application/x-python-serialize"})).id == "i1"


def test_redelivered_is_told_by_either_side() -> None:
    encoded = encode(FULL, serializer=JSON)
    assert peek(kombu(encoded, redelivered=True)).redelivered
    headers = {"task": "t", "id": "i", "redelivered": True}
    assert peek(foreign(headers=headers)).redelivered


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("eta", "soon", "the eta of task 't' is 'soon'"),
        ("expires", "x", "the expiry of task 't' is 'x'"),
        ("retries", "2", "the header 'retries' of task 't' is '2'"),
        ("timelimit", 3, "the header 'timelimit' of task 't' is 3"),
        ("id", None, "the header 'id' of task 't' is None"),
        ("id", "", "'id' are 't' and ''"),
        ("task", 3, "names no task"),
    ],
)
def test_peek_refuses_what_decoding_would(name: str, value: Any, message: str) -> None:
    headers = {"task": "t", "id": "i", name: value}
    with pytest.raises(DecodeError, match=message):
        peek(foreign(headers=headers))


def test_peek_takes_other_peoples_types() -> None:
    headers = {"task": "t", "id": "i", "eta": {"__type__": "datetime", "__value__": "2031-01-02"}}
    seen = peek(foreign(headers=headers, properties={"priority": "7", "delivery_tag": TAG}))
    assert (seen.eta, seen.priority) == (datetime(2031, 1, 2, tzinfo=UTC), 7)


def old(body: Any, **more: Any) -> bytes:
    return foreign(body=base64.b64encode(json.dumps(body).encode()).decode(), headers={}, **more)


def test_peek_opens_the_body_of_protocol_1() -> None:
    body = {"task": "t.add", "id": "i1", "eta": ETA.isoformat(), "timelimit": [30, None]}
    seen = peek(old(body))
    assert (seen.task, seen.id, seen.eta, seen.hard_limit) == ("t.add", "i1", ETA, 30)
    assert seen.delivery_tag == TAG
    with pytest.raises(UnsupportedProtocol, match="not a task message"):
        peek(old({}))
    with pytest.raises(ContentDisallowed):
        peek(old(body, **{"content-type": "application/x-python-serialize"}))


@given(st.binary() | MAPPINGS.map(lambda found: json.dumps(found, default=str).encode()))
def test_whatever_comes_only_wire_errors_leave(raw: bytes) -> None:
    for read in (load, peek):
        try:
            read(raw)
        except (DecodeError, UnsupportedProtocol, ContentDisallowed):
            pass


@given(st.binary(max_size=30), st.integers(0, 400))
def test_damaged_envelopes_only_raise_wire_errors(noise: bytes, place: int) -> None:
    encoded = encode(FULL, serializer=JSON)
    for whole in (kombu(encoded), compact(encoded)):
        raw = whole[:place] + noise + whole[place + len(noise) :]
        for read in (load, peek):
            try:
                read(raw)
            except (DecodeError, UnsupportedProtocol, ContentDisallowed):
                pass
