"""Task messages recorded from Celery: what it wrote is read, and what we write equals it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest

from tests.wire.calls import ID, ONE_EACH
from tests.wire.recordings import names, raws
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire.envelope import dump_compact, dump_kombu, load, peek
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_message import decode
from umbel.wire.task_v2 import encode

ALL = SERIALIZERS.content_types(["json", "pickle", "yaml", "msgpack"])


def read(raw: bytes) -> TaskMessage:
    return decode(load(raw), accept=ALL, serializers=SERIALIZERS)


def every(prefix: str = "") -> list[Any]:
    return [
        pytest.param(raw, id=f"{name}-{index}")
        for name in names("messages", prefix)
        for index, raw in enumerate(raws("messages", name, "messages"))
    ]


# --- reading --------------------------------------------------------------------------------------

MADE_UP = ("argsrepr", "kwargsrepr", "origin", "reply_to", "correlation_id", "ignore_result")


@pytest.mark.parametrize("name", ONE_EACH)
def test_reads_what_was_called(name: str) -> None:
    (raw,) = raws("messages", name, "messages")
    message = read(raw)
    expected = ONE_EACH[name]
    fields = {field: getattr(message, field) for field in message.__struct_fields__}
    fields["args"] = list(fields["args"])
    if fields["stamped_headers"]:
        fields["stamped_headers"] = sorted(fields["stamped_headers"])  # Celery's are in no order
    defaults = {
        **{field: fields[field] for field in MADE_UP},
        "id": ID,
        "priority": 0,
        "root_id": ID if name.startswith("v2") else None,
        "properties": {"delivery_mode": 2},
    }
    given = msgspec.structs.asdict(TaskMessage(id=ID, task=""))
    assert fields == {**given, **defaults, **expected}
    assert message.correlation_id == ID
    if name.startswith("v2"):
        assert message.origin is not None
        assert message.origin.startswith("gen")
        assert message.reply_to


def test_reads_nan() -> None:
    (raw,) = raws("messages", "v2_tagged_nan", "messages")
    assert math.isnan(read(raw).args[0])


def test_reads_times_of_another_zone() -> None:
    (raw,) = raws("messages", "v2_berlin", "messages")
    eta = read(raw).eta
    assert eta is not None
    assert eta.isoformat().endswith(("+01:00", "+02:00"))


def test_reads_a_chain_in_reverse_order() -> None:
    for name in ("v2_chain", "v2_chain_pickle"):
        (raw,) = raws("messages", name, "messages")
        message = read(raw)
        assert message.chain is not None
        assert [step["task"] for step in message.chain] in (
            ["goldens.add", "goldens.add"],
            ["celery.group", "goldens.add"],
        )
        assert list(message.chain[-1]["args"]) == [3]
        assert all(step["options"]["task_id"] for step in message.chain)
    group = message.chain[0]
    assert [list(part["args"]) for part in group["kwargs"]["tasks"]] == [[4], [5]]
    assert type(group["kwargs"]["tasks"][0]) is dict


@pytest.mark.parametrize("name", ["v2_group", "v1_group", "v2_chord", "v1_chord"])
def test_reads_the_members_of_groups_and_chords(name: str) -> None:
    members = [read(raw) for raw in raws("messages", name, "messages")]
    assert [list(member.args) for member in members] == [[1, 1], [2, 2]]
    assert [member.group_index for member in members] == [0, 1]
    assert len({member.group_id for member in members}) == 1
    for member in members:
        assert member.group_id
        if name.endswith("chord"):
            assert member.chord is not None
            assert member.chord["task"] == "goldens.total"
            assert member.chord["options"]["task_id"]
        else:
            assert member.chord is None


def test_reads_a_retry() -> None:
    (raw,) = raws("results", "worker_retry", "parked")
    message = read(raw)
    assert (message.id, message.retries, message.priority) == (ID, 1, 3)
    assert message.headers == {"x-custom": "v"}
    assert message.eta is not None
    (document,) = raws("results", "worker_retry", "documents")
    assert json.loads(document)["status"] == "RETRY"


PEEKED = ["task", "id", "eta", "expires", "ignore_result", "priority", "shadow", "root_id"]
PEEKED += ["parent_id", "argsrepr", "kwargsrepr"]


@pytest.mark.parametrize("raw", every())
def test_peeks_at_what_decoding_reads(raw: bytes) -> None:
    message = read(raw)
    encoded = load(raw)
    for envelope in (raw, dump_compact(encoded)):
        seen = peek(envelope)
        assert seen.delivery_tag == json.loads(raw)["properties"]["delivery_tag"]
        assert not seen.redelivered
        for ours, field in (("hard_limit", "time_limit"), ("soft_limit", "soft_time_limit")):
            assert getattr(seen, ours) == getattr(message, field)
        for field in PEEKED:
            assert getattr(seen, field) == getattr(message, field)
        if encoded.headers.get("task") is None or "retries" in encoded.headers:
            assert seen.retries == message.retries


# --- writing --------------------------------------------------------------------------------------

SLIPPED_IN = ("argsrepr", "kwargsrepr", "origin")
"""Options that Celery's senders leave among the properties; nobody reads them there."""


def parsed(raw: bytes) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(raw)
    for name in SLIPPED_IN:
        envelope["properties"].pop(name, None)
    envelope["properties"].pop("expiration", None)  # counted from the moment of sending
    content = load(raw)
    envelope["body"] = content.body
    return envelope


def sent_again(raw: bytes, message: TaskMessage) -> tuple[EncodedMessage, bytes]:
    """Send what was read the way it had been sent."""
    original = load(raw)
    encoded = encode(
        message,
        serializer=SERIALIZERS.get(original.content_type),
        compression=original.headers.get("compression"),
    )
    where = original.properties["delivery_info"]
    return encoded, dump_kombu(
        encoded,
        exchange=where["exchange"],
        routing_key=where["routing_key"],
        delivery_tag=original.properties["delivery_tag"],
    )


@pytest.mark.parametrize("raw", every("v2"))
def test_writes_what_celery_writes(raw: bytes) -> None:
    theirs = parsed(raw)
    _, again = sent_again(raw, read(raw))
    ours = parsed(again)
    theirs_body, ours_body = theirs.pop("body"), ours.pop("body")
    assert ours == theirs
    assert list(ours["headers"]) == list(theirs["headers"])
    assert same_body(load(raw), theirs_body) == same_body(load(again), ours_body)


def same_body(message: EncodedMessage, body: bytes) -> Any:
    serializer = SERIALIZERS.get(message.content_type)
    if serializer.name == "msgpack":
        return body
    args, kwargs, embed = decode_body(message)
    return json.dumps(json_ready([list(args), kwargs, embed]), sort_keys=True)


def decode_body(message: EncodedMessage) -> Any:
    from umbel.wire.compressors import decompress

    body = message.body
    if "compression" in message.headers:
        body = decompress(body, message.headers["compression"])
    return SERIALIZERS.loads(body, message.content_type, message.content_encoding, ALL)


def json_ready(value: Any) -> Any:
    return json.loads(SERIALIZERS.get("json").dumps(value))


@pytest.mark.parametrize("raw", every("v2"))
def test_generates_the_same_reprs(raw: bytes) -> None:
    theirs = load(raw)
    if theirs.headers["argsrepr"] == "(hidden)":
        return  # given by the caller
    message = read(raw)
    tuple_sent = theirs.headers["argsrepr"].startswith("(")
    message = msgspec.structs.replace(
        message,
        args=tuple(message.args) if tuple_sent else list(message.args),
        argsrepr=None,
        kwargsrepr=None,
    )
    ours, _ = sent_again(raw, message)
    if "datetime" in theirs.headers["argsrepr"] and "tzinfo" in theirs.headers["argsrepr"]:
        return  # the name of the zone's class
    if message.task.startswith("celery."):
        return  # Celery displays the signature object, not the mapping it becomes
    assert ours.headers["argsrepr"] == theirs.headers["argsrepr"]
    assert ours.headers["kwargsrepr"] == theirs.headers["kwargsrepr"]
