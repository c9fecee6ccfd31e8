"""Reading task messages: all protocols, and every way in which one can be poisonous."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.errors import ContentDisallowed, DecodeError, UnsupportedProtocol
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire.compressors import compress
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.wire.task_message import decode
from umbel.wire.task_v2 import encode

ACCEPT = SERIALIZERS.content_types(["json"])
MINIMAL = {"task": "t.add", "id": "i1"}
NOTHING: Any = object()


def encoded(body: Any = NOTHING, headers: Any = None, **more: Any) -> EncodedMessage:
    body = [[1], {}, {}] if body is NOTHING else body
    fields: dict[str, Any] = {
        "headers": MINIMAL if headers is None else headers,
        "properties": {},
        "body": body if isinstance(body, bytes) else json.dumps(body).encode(),
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }
    return EncodedMessage(**{**fields, **more})


def read(message: EncodedMessage, **more: Any) -> TaskMessage:
    return decode(message, accept=ACCEPT, serializers=SERIALIZERS, **more)


# --- protocol 2 -----------------------------------------------------------------------------------


def test_two_headers_are_enough() -> None:
    assert read(encoded()) == TaskMessage(id="i1", task="t.add", args=[1], kwargs={})


def test_null_is_as_good_as_missing() -> None:
    names = ["eta", "expires", "retries", "timelimit", "argsrepr", "stamps", "group", "shadow"]
    message = read(encoded([[1], {}, None], {**MINIMAL, **dict.fromkeys(names)}))
    assert message == TaskMessage(id="i1", task="t.add", args=[1], kwargs={})


SIGNATURES = st.lists(
    st.fixed_dictionaries(
        {
            "task": st.text(min_size=1),
            "args": st.lists(st.integers()),
            "kwargs": st.dictionaries(st.text(), st.integers()),
            "options": st.dictionaries(st.text(), st.text()),
            "subtask_type": st.none() | st.just("chord"),
            "immutable": st.booleans(),
        }
    ),
    min_size=1,
    max_size=2,
)
MOMENTS = st.none() | st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
)
TEXTS = st.none() | st.text(min_size=1)
MESSAGES = st.builds(
    TaskMessage,
    id=st.text(min_size=1),
    task=st.text(min_size=1),
    args=st.lists(st.none() | st.integers() | st.text() | st.dates()),
    kwargs=st.dictionaries(st.text(), st.floats(allow_nan=False) | st.binary()),
    eta=MOMENTS,
    expires=MOMENTS,
    retries=st.integers(0, 99),
    priority=st.integers(0, 9),
    time_limit=st.none() | st.integers(1, 9) | st.floats(0, 1e6),
    soft_time_limit=st.none() | st.integers(1, 9),
    root_id=st.text(min_size=1),
    parent_id=TEXTS,
    group_id=TEXTS,
    group_index=st.none() | st.integers(0, 99),
    callbacks=st.none() | SIGNATURES,
    errbacks=st.none() | SIGNATURES,
    chain=st.none() | SIGNATURES,
    chord=st.none() | SIGNATURES.map(lambda found: found[0]),
    ignore_result=st.none() | st.booleans(),
    shadow=TEXTS,
    argsrepr=st.text(),
    kwargsrepr=st.text(),
    origin=TEXTS,
    correlation_id=st.text(min_size=1),
    reply_to=TEXTS,
    replaced_task_nesting=st.integers(0, 9),
    stamped_headers=st.none() | st.lists(st.text()),
    stamps=st.dictionaries(st.text(), st.text()),
    headers=st.dictionaries(st.text("xyz-", min_size=1), st.text() | st.dates()),
    properties=st.just({"delivery_mode": 2}),
)


@given(MESSAGES, st.sampled_from([None, "zlib"]))
def test_what_is_sent_is_read(message: TaskMessage, compression: str | None) -> None:
    assert read(encode(message, serializer=JSON, compression=compression)) == message


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T07:54:26.462665+00:00", datetime(2026, 11, 22, 7, 54, 26, 462665, tzinfo=UTC)),
        ("2026-11-22T07:54:26Z", datetime(2026, 11, 22, 7, 54, 26, tzinfo=UTC)),
        ("2026-11-22T07:54:26", datetime(2026, 11, 22, 7, 54, 26, tzinfo=UTC)),
        ("2026-11-22 09:54:26+02:00", datetime(2026, 11, 22, 7, 54, 26, tzinfo=UTC)),
        ("20261122T075426Z", datetime(2026, 11, 22, 7, 54, 26, tzinfo=UTC)),
    ],
)
def test_times_in_any_form_of_iso_8601(text: str, moment: datetime) -> None:
    message = read(encoded(headers={**MINIMAL, "eta": text, "expires": text}))
    assert (message.eta, message.expires) == (moment, moment)
    assert message.eta is not None
    assert message.eta.tzinfo is not None


def test_unknown_headers_are_the_callers_own() -> None:
    journey = {"redelivered": True, "lang": "go"}
    message = read(encoded(headers={**MINIMAL, "x-own": [1], **journey}))
    assert message.headers == {"x-own": [1]}


# --- the poison table -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([[], {}], "the body of task 't.add' has 2 parts; protocol 2 has three"),
        ([], "has 0 parts"),
        ([[], {}, {}, {}], "has 4 parts"),
        (["ab", {}, {}], "the args of task 't.add' are a str, not a list"),
        ([[], [1], {}], "the kwargs of task 't.add' are a list, not a mapping"),
        ([[], None, {}], "the kwargs of task 't.add' are a NoneType, not a mapping"),
        ([[], {}, 3], "third part of the body of task 't.add' is a int"),
        ([[], {}, {"callbacks": "t.x"}], "a callback of task 't.add' is a str, not a list"),
        ([[], {}, {"chain": [3]}], "a chain step of task 't.add' is a int, not a mapping"),
        ([[], {}, {"errbacks": [{}]}], "an errback of task 't.add' names no task"),
        ([[], {}, {"chord": [1]}], "the chord body of task 't.add' is a list"),
        (b"{nonsense", "not valid JSON"),
        (b"", "not valid JSON"),
        ([[{"__type__": "alien", "__value__": 1}], {}, {}], "of type 'alien', which is not known"),
    ],
)
def test_a_body_of_the_wrong_shape(body: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read(encoded(body))


@pytest.mark.parametrize("body", ["text", 3, None, {"no": "args"}])
def test_a_body_of_no_protocol(body: Any) -> None:
    with pytest.raises(UnsupportedProtocol, match=r"task 't\.add' is a .*protocol 2"):
        read(encoded(body))


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"task": "t.add"}, "the message for task 't.add' has no id: its header 'id' is None"),
        ({"task": "t.add", "id": ""}, "the message for task 't.add' has no id"),
        (
            {"task": "t.add", "id": 7},
            "the header 'id' of task 't.add' is 7: Expected `str`, got `int`",
        ),
        ({"task": 5, "id": "i"}, "names no task: its header 'task' is 5"),
        ({**MINIMAL, "eta": "soon"}, "the eta of task 't.add' is 'soon', which is not an ISO-8601"),
        ({**MINIMAL, "expires": 99}, "the expiry of task 't.add' is 99, which is not a time"),
        (
            {**MINIMAL, "retries": "two"},
            "header 'retries' of task 't.add' is 'two': Expected `int . null`",
        ),
        (
            {**MINIMAL, "timelimit": 30},
            "the header 'timelimit' of task 't.add' is 30: Expected `array",
        ),
        (
            {**MINIMAL, "timelimit": [1]},
            r"the header 'timelimit' of task 't.add' is \[1\]: .* length 2",
        ),
        (
            {**MINIMAL, "timelimit": ["x", None]},
            r"'timelimit' of task 't.add' is \['x', None\]: Expected `int",
        ),
        ({**MINIMAL, "compression": "rar"}, "compressed as 'rar', which is not known"),
        ({**MINIMAL, "compression": "zlib"}, "the content is not valid 'zlib' data"),
        ({**MINIMAL, "compression": ["zlib"]}, "the header 'compression' of task 't.add' is"),
        ({**MINIMAL, "stamps": [1]}, "the header 'stamps' of task 't.add' is"),
    ],
)
def test_headers_that_are_wrong(headers: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read(encoded(headers=headers))


def test_a_priority_that_is_not_a_number() -> None:
    with pytest.raises(DecodeError, match="the priority is 'high', not a number"):
        read(encoded(properties={"priority": "high"}))
    assert read(encoded(properties={"priority": "3"})).priority == 3


def test_missing_content_type() -> None:
    with pytest.raises(ContentDisallowed, match="no content type"):
        read(encoded(content_type=""))


def test_content_that_is_not_accepted() -> None:
    with pytest.raises(ContentDisallowed, match="add 'pickle' to accept_content"):
        read(encoded(b"cos\nsystem\n.", content_type="application/x-python-serialize"))


def test_raw_bytes_are_no_task() -> None:
    with pytest.raises(UnsupportedProtocol, match="is a bytes"):
        read(encoded(b"\x00", content_type="application/data", content_encoding="binary"))


@pytest.mark.parametrize("body", [[1, 2, 3], "text", {"id": "i"}, {}])
def test_no_task_named_anywhere(body: Any) -> None:
    with pytest.raises(UnsupportedProtocol, match="not a task message"):
        read(encoded(body, headers={}))


def test_a_compressed_bomb() -> None:
    packed, mime = compress(json.dumps([["x" * 100_000], {}, {}]).encode(), "zlib")
    message = encoded(packed, {**MINIMAL, "compression": mime})
    assert len(read(message).args[0]) == 100_000
    with pytest.raises(DecodeError, match="would unpack to more than the 5000 bytes"):
        read(message, limit=5000)


@pytest.mark.parametrize("name", ["lang", "meth", "x-anything"])
def test_foreign_headers_do_no_harm(name: str) -> None:
    assert read(encoded(headers={**MINIMAL, name: "rust"})).task == "t.add"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.dictionaries(
        st.sampled_from(["task", "id", "eta", "retries", "timelimit", "compression", "stamps"]),
        st.none() | st.integers() | st.text() | st.lists(st.integers()),
    ),
)
def test_whatever_comes_only_wire_errors_leave(body: Any, headers: dict[str, Any]) -> None:
    try:
        message = read(encoded(body, headers))
    except (DecodeError, ContentDisallowed, UnsupportedProtocol):
        return
    assert message.task
    assert message.id


# --- protocol 1 and the hybrid --------------------------------------------------------------------


def test_protocol_1_minimal() -> None:
    message = read(encoded({"task": "t.add", "id": "i1"}, headers={}))
    assert message == TaskMessage(id="i1", task="t.add", args=[], kwargs={})


def test_taskset_overrides_group() -> None:
    body = {"task": "t.add", "id": "i1", "group": "g1", "taskset": "g2", "group_index": 3}
    message = read(encoded(body, headers={}))
    assert (message.group_id, message.group_index) == ("g2", 3)


def test_local_times_of_protocol_1() -> None:
    zone = timezone(timedelta(hours=2))
    body = {"task": "t.add", "id": "i1", "eta": "2026-11-22T12:00:00", "utc": False}
    message = read(encoded(body, headers={}), timezone=zone)
    assert message.eta == datetime(2026, 11, 22, 10, tzinfo=UTC)
    message = read(encoded({**body, "utc": True}, headers={}), timezone=zone)
    assert message.eta == datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_protocol_1_poison() -> None:
    with pytest.raises(DecodeError, match=r"protocol 1 message for task 't\.add' has no id"):
        read(encoded({"task": "t.add"}, headers={}))
    with pytest.raises(DecodeError, match=r"args of task 't\.add' are a int"):
        read(encoded({"task": "t.add", "id": "i", "args": 3}, headers={}))
    with pytest.raises(DecodeError, match=r"eta of task 't\.add' is 'x'"):
        read(encoded({"task": "t.add", "id": "i", "eta": "x"}, headers={}))


def test_hybrid_headers_override_the_body() -> None:
    callback = {"task": "t.next"}
    body = {
        "task": "other", "id": "other", "args": [4], "kwargs": {"y": 5}, "retries": 1,
        "eta": "2026-11-22T12:00:00Z", "callbacks": [callback],
    }  # fmt: skip
    message = read(encoded(body, {**MINIMAL, "retries": 2}))
    assert (message.id, message.task, message.retries) == ("i1", "t.add", 2)
    assert (message.args, message.kwargs) == ([4], {"y": 5})
    assert message.eta == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert message.callbacks is not None
    assert message.callbacks[0]["task"] == "t.next"
