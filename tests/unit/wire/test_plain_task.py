"""The short way into an envelope says what the long way says, or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire import envelope, task_v2
from umbel.wire.plain_task import read_plain
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.wire.task_message import decode

_texts = st.one_of(st.none(), st.text(max_size=20))
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


def raw_forms(message: EncodedMessage) -> list[bytes]:
    kombu = envelope.dump_kombu(message, exchange="", routing_key="q", delivery_tag="t")
    return [kombu, envelope.dump_compact(message)]


def the_long_way(raw: bytes) -> TaskMessage:
    accept = frozenset({JSON.content_type})
    return decode(envelope.load(raw), accept=accept, serializers=SERIALIZERS)


@given(
    st.builds(
        TaskMessage,
        id=st.text(min_size=1, max_size=10),
        task=st.text(min_size=1, max_size=10),
        args=st.lists(_values, max_size=3),
        kwargs=st.dictionaries(st.text(), _values, max_size=3),
        retries=st.integers(0, 5),
        priority=st.one_of(st.none(), st.integers(0, 9)),
        time_limit=st.one_of(st.none(), st.floats(0.1, 100), st.integers(1, 100)),
        group_id=_texts,
        group_index=st.one_of(st.none(), st.integers(0, 5)),
        ignore_result=st.one_of(st.none(), st.booleans()),
        shadow=_texts,
        reply_to=_texts,
        headers=st.dictionaries(st.sampled_from(["x-mine", "compression2"]), _values, max_size=1),
        stamps=st.dictionaries(st.sampled_from(["stamp"]), _texts, max_size=1),
        eta=st.sampled_from([None, datetime(2026, 1, 1, tzinfo=UTC)]),
    )
)
def test_both_ways_agree_on_every_message(message):
    for raw in raw_forms(task_v2.encode(message, serializer=JSON)):
        found = read_plain(raw)
        # repr, because NaN is in there
        assert found is None or repr(found) == repr(the_long_way(raw))


def test_an_ordinary_message_is_plain():
    message = TaskMessage(id="1", task="add", args=(2, 3), kwargs={"z": [1]}, priority=3)
    for raw in raw_forms(task_v2.encode(message, serializer=JSON)):
        assert read_plain(raw) == the_long_way(raw)


DUE = datetime(2026, 1, 1, tzinfo=UTC)
SIGNATURE = {
    "task": "t",
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
    "immutable": False,
}


@pytest.mark.parametrize(
    "more",
    [
        {"eta": DUE},
        {"expires": DUE + timedelta(days=9999)},
        {"callbacks": [SIGNATURE]},
        {"chain": [SIGNATURE]},
        {"chord": SIGNATURE},
        {"stamps": {"a": "b"}, "stamped_headers": ["a"]},
        {"headers": {"mine": 1}},
        {"args": (DUE,)},
        {"properties": {"expiration": "1"}},
    ],
)
def test_whatever_is_more_than_plain_is_left_to_the_long_way(more):
    message = TaskMessage(**{"id": "1", "task": "add", **more})
    for raw in raw_forms(task_v2.encode(message, serializer=JSON)):
        assert read_plain(raw) is None
        the_long_way(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"content-type": "application/x-yaml"},
        {"content-encoding": "latin-1"},
        {"body": "W1tdLHt9XQ=="},  # [[],{}]: a part is missing
        {"body": "W1tdLHt9LHt9LDFd"},  # [[],{},{},1]: one too many
        {"body": "not base64!"},
        {"headers": {"task": "", "id": "1"}},
        {"headers": {"task": "t"}},
        {"headers": {"task": "t", "id": "1", "retries": "many"}},
        {"headers": {"task": "t", "id": "1", "compression": "zlib"}},
        {"properties": {"delivery_mode": 2}},  # no body_encoding: a plain text
    ],
)
def test_whatever_is_wrong_is_left_to_who_can_say_why(changes):
    raw = raw_forms(task_v2.encode(TaskMessage(id="1", task="t"), serializer=JSON))[0]
    assert read_plain(json.dumps({**json.loads(raw), **changes}).encode()) is None


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b"\x93", b"[]", b"\x96\x01"])
def test_what_is_no_envelope_is_not_plain(raw):
    assert read_plain(raw) is None
