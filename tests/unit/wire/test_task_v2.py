"""Protocol 2, as we write it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from umbel.errors import EncodeError, ImproperlyConfigured
from umbel.model.message import TaskMessage
from umbel.wire.compressors import decompress
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.wire.task_v2 import encode

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVERY_HEADER = [
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries",
    "timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result",
    "replaced_task_nesting", "stamped_headers", "stamps",
]  # fmt: skip


def message(**fields: Any) -> TaskMessage:
    return TaskMessage(id="i1", task="t.add", **fields)


def test_every_header_is_there_even_when_unused() -> None:
    encoded = encode(message(args=(2, 3)), serializer=JSON)
    assert list(encoded.headers) == EVERY_HEADER
    assert encoded.headers["root_id"] == "i1"
    assert encoded.headers["timelimit"] == [None, None]
    assert encoded.properties == {"correlation_id": "i1", "delivery_mode": 2, "priority": 0}
    assert (encoded.content_type, encoded.content_encoding) == ("application/json", "utf-8")
    assert json.loads(encoded.body) == [
        [2, 3],
        {},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]


def test_limits_are_hard_first() -> None:
    encoded = encode(message(time_limit=30, soft_time_limit=20), serializer=JSON)
    assert encoded.headers["timelimit"] == [30, 20]


def test_expiration_is_milliseconds_from_now() -> None:
    def expiration(expires: datetime) -> Any:
        encoded = encode(message(expires=expires), serializer=JSON, now=NOW)
        return encoded.properties["expiration"]

    assert expiration(NOW + timedelta(seconds=120)) == "120000"
    assert expiration(NOW - timedelta(seconds=1)) == "0"
    assert "expiration" not in encode(message(), serializer=JSON).properties
    later = datetime.now(UTC) + timedelta(hours=1)
    encoded = encode(message(expires=later), serializer=JSON)
    assert 3_500_000 < int(encoded.properties["expiration"]) <= 3_600_000


def test_the_callers_headers_and_properties_travel_along() -> None:
    encoded = encode(
        message(headers={"x-own": 1, "lang": "tlh"}, properties={"delivery_mode": 1}),
        serializer=JSON,
    )
    assert encoded.headers["x-own"] == 1
    assert encoded.headers["lang"] == "tlh"
    assert encoded.properties["delivery_mode"] == 1


def test_headers_of_an_earlier_journey_do_not() -> None:
    journey = {"x-death": [1], "x-first-death-queue": "q", "redelivered": True, "compression": "x"}
    encoded = encode(message(headers=journey), serializer=JSON)
    assert list(encoded.headers) == EVERY_HEADER


def test_reprs_can_be_given() -> None:
    encoded = encode(message(args=("secret",), argsrepr="(…)", kwargsrepr=""), serializer=JSON)
    assert (encoded.headers["argsrepr"], encoded.headers["kwargsrepr"]) == ("(…)", "")


def test_any_sequence_and_mapping_will_do() -> None:
    from types import MappingProxyType

    encoded = encode(message(args=range(2), kwargs=MappingProxyType({"y": 1})), serializer=JSON)
    assert json.loads(encoded.body)[:2] == [[0, 1], {"y": 1}]
    assert encoded.headers["argsrepr"] == "(0, 1)"


def test_workflows_are_in_the_body() -> None:
    sig = {"task": "t.next", "args": [], "kwargs": {}, "options": {}}
    encoded = encode(message(callbacks=[sig], chord=sig), serializer=JSON)
    embed = json.loads(encoded.body)[2]
    assert embed == {"callbacks": [sig], "errbacks": None, "chain": None, "chord": sig}


def test_the_body_is_compressed_and_the_header_says_how() -> None:
    encoded = encode(message(args=("x" * 1000,)), serializer=JSON, compression="gzip")
    assert encoded.headers["compression"] == "application/x-gzip"
    assert len(encoded.body) < 200
    assert json.loads(decompress(encoded.body, "gzip"))[0] == ["x" * 1000]
    with pytest.raises(ImproperlyConfigured, match="no compression 'squeeze'"):
        encode(message(), serializer=JSON, compression="squeeze")


@pytest.mark.parametrize("name", ["json", "msgpack", "yaml", "pickle"])
def test_an_argument_that_cannot_be_written_is_named(name: str) -> None:
    serializer = SERIALIZERS.get(name)
    bad = (item for item in ())
    with pytest.raises(EncodeError) as caught:
        encode(message(args=(1, bad)), serializer=serializer)
    assert "t.add cannot be sent: its positional argument 1 is not" in str(caught.value)
    assert repr(name) in str(caught.value)
    with pytest.raises(EncodeError, match="its argument 'when' is not something"):
        encode(message(kwargs={"x": 1, "when": bad}), serializer=serializer)
    with pytest.raises(EncodeError, match=r"t\.add cannot be sent"):
        encode(message(callbacks=[{"task": "t", "args": [bad]}]), serializer=serializer)


def test_native_arguments_are_tagged() -> None:
    encoded = encode(message(args=(date(2020, 1, 2),)), serializer=JSON)
    assert json.loads(encoded.body)[0] == [{"__type__": "date", "__value__": "2020-01-02"}]
