"""JSON with tagged native types: exact both ways, and errors that say where."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.errors import DecodeError, EncodeError
from umbel.wire import tagged_json
from umbel.wire.tagged_json import dumps, loads, register_type

SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    # Halves of surrogate pairs; a whole pair of them means its character, in any JSON.
    | st.sampled_from(["\ud800", "a\udfff", "\udc00 \ud800"])
)
NATIVE: st.SearchStrategy[Any] = (
    st.datetimes(timezones=st.just(UTC) | st.none())
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
)
# An object of exactly the tagged shape is misread, as in Celery; keys here never make one.
KEYS = st.text().filter(lambda key: key != "__type__")


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    )


@given(trees(SCALARS | NATIVE))
def test_what_is_written_is_read_back(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(trees(SCALARS))
def test_plain_values_are_plain_json_to_everybody(value: Any) -> None:
    assert json.loads(dumps(value)) == value


@given(trees(SCALARS))
def test_reads_what_python_writes(value: Any) -> None:
    assert loads(json.dumps(value).encode("utf-8")) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), ("datetime", "2020-01-02T03:04:05+00:00")),
        (
            datetime(2020, 1, 2, 3, 4, 5),  # noqa: DTZ001 - without a zone on purpose
            ("datetime", "2020-01-02T03:04:05"),
        ),
        (
            datetime(2020, 1, 2, tzinfo=timezone(timedelta(hours=2))),
            ("datetime", "2020-01-02T00:00:00+02:00"),
        ),
        (date(2020, 1, 2), ("date", "2020-01-02")),
        (time(1, 2, 3), ("time", "01:02:03")),
        (Decimal("1.50"), ("decimal", "1.50")),
        (UUID(int=5), ("uuid", {"hex": "00000000000000000000000000000005"})),
        (b"abc", ("bytes", "abc")),
        (b"\xff\xfe", ("base64", "//4=")),
    ],
)
def test_native_types_are_tagged(value: Any, written: tuple[str, Any]) -> None:
    assert json.loads(dumps(value)) == {"__type__": written[0], "__value__": written[1]}
    assert json.loads(dumps([{"deep": value}]))[0]["deep"]["__type__"] == written[0]
    assert loads(dumps([value])) == [value]


def test_nan_and_infinity_are_bare_words() -> None:
    assert dumps([float("inf"), float("-inf")]) == b"[Infinity,-Infinity]"
    assert dumps((float("nan"),)) == b"[NaN]"
    assert math.isnan(loads(b"[NaN]")[0])
    assert loads(b'{"a": -Infinity}') == {"a": float("-inf")}


def test_objects_may_bring_their_own_form() -> None:
    class Money:
        def __json__(self) -> Any:
            return {"amount": Decimal("2.50")}

    assert loads(dumps(Money())) == {"amount": Decimal("2.50")}


def test_subclasses_of_plain_types_are_what_they_extend() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Name(str):
        pass

    assert dumps([Colour.RED, Name("x")]) == b'["red","x"]'
    assert dumps({Colour.RED: True, 1: None, None: 2}) == b'{"red":true,"1":null,"null":2}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2, 3}]}, "a set at ['a'][1] cannot be written as JSON"),
        (object(), "a object cannot be written as JSON: object has no JSON form"),
        ([[], {b"k": 1}], r"a bytes at [1][b'k'] cannot be written as JSON: the keys"),
        ([timedelta(1)], "a timedelta at [0]"),
    ],
)
def test_refusals_name_value_and_place(value: Any, message: str) -> None:
    with pytest.raises(EncodeError) as caught:
        dumps(value)
    assert message in str(caught.value)


def test_a_value_inside_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="contains itself"):
        dumps(loop)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{nonsense", "not valid JSON: .*it begins b'{nonsense'"),
        (b"", "not valid JSON"),
        (b"\xff\xfe\xfd", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
        (b'{"__type__": "spaceship", "__value__": 1}', "of type 'spaceship', which is not known"),
        (b'{"__type__": ["x"], "__value__": 1}', r"of type \['x'\]"),
        (b'{"__type__": "date", "__value__": "yesterday"}', "holds 'yesterday' as a date"),
        (b'{"__type__": "decimal", "__value__": "x"}', "holds 'x' as a decimal"),
        (b'{"__type__": "uuid", "__value__": {}}', "as a uuid"),
        (b'{"__type__": "base64", "__value__": 3}', "holds 3 as a base64"),
    ],
)
def test_wrong_json_is_a_decode_error(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        loads(data)


def test_a_tag_written_with_escapes_is_still_a_tag() -> None:
    assert loads(rb'{"\u005f_type__": "date", "__value\u005f_": "2020-01-02"}') == date(2020, 1, 2)


def test_other_unicode_encodings_are_read_like_python_does() -> None:
    text = json.dumps({"__type__": "date", "__value__": "2020-01-02"})
    assert loads(text.encode("utf-16")) == date(2020, 1, 2)


def test_other_objects_with_such_keys_are_left_alone() -> None:
    value = {"__type__": "date", "__value__": "2020-01-02", "more": 1}
    assert loads(dumps(value)) == value


def test_a_type_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagged_json, "_writers", tagged_json._writers)
    monkeypatch.setattr(tagged_json, "_readers", tagged_json._readers)
    register_type(complex, "complex", lambda z: [z.real, z.imag], lambda pair: complex(*pair))
    assert loads(dumps([1 + 2j])) == [1 + 2j]


def test_works_without_the_c_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagged_json.json_encoder, "c_make_encoder", None)
    monkeypatch.setattr(tagged_json, "_chunks", tagged_json._make_chunks())
    assert dumps({"a": [1.5, date(2020, 1, 2)]}) == (
        b'{"a":[1.5,{"__type__":"date","__value__":"2020-01-02"}]}'
    )
