"""Arguments as text: Celery's form, bounded, never failing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.wire.reprs import safe_repr

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.integers(min_value=0, max_value=2000))
def test_never_raises_and_stays_short(value: Any, maxlen: int) -> None:
    text = safe_repr(value, maxlen=maxlen)
    # Beyond the limit only dots, one quote and closing brackets are added.
    assert len(text) <= maxlen + 3 + 2 + 4 * len(", ...frozenset({")


@given(st.tuples(st.integers() | st.text("abc é") | st.none()))
def test_simple_values_are_as_python_writes_them(value: Any) -> None:
    assert safe_repr(value, maxlen=10_000) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((), "()"),
        ([], "[]"),
        ({}, "{}"),
        (set(), "set()"),
        (frozenset(), "frozenset()"),
        ((1,), "(1,)"),
        ({"y": 2}, "{'y': 2}"),
        (("it's",), r"('it\'s',)"),
        (('say "x"',), "('say \"x\"',)"),
        ((b"\xff",), "(b'ff',)"),
        (((((1,),),),), "((((...,),),),)"),
        (((((1, 2),),),), "((((...),),),)"),
    ],
)
def test_form(value: Any, text: str) -> None:
    assert safe_repr(value) == text


def test_a_value_inside_itself() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert safe_repr(loop) == "[1, [...]]"


def test_a_repr_that_raises_is_told() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert safe_repr((Rude(), 1)) == "(<Rude: its repr raised RuntimeError>, 1)"


def test_a_container_that_raises_is_told() -> None:
    class Rude(list[int]):
        def __iter__(self) -> Any:
            raise RuntimeError("no")

    assert "RuntimeError" in safe_repr(Rude([1]))


def test_a_number_longer_than_python_prints() -> None:
    assert "its repr raised ValueError" in safe_repr((10**5000,))


def test_the_work_is_bounded() -> None:
    huge = {"text": "x" * 50_000_000, "list": list(range(1_000_000)), "bytes": b"x" * 50_000_000}
    begin = time.process_time()
    for value in (*huge.values(), tuple(huge.values()), huge):
        assert len(safe_repr(value)) < 1100
    assert time.process_time() - begin < 0.1  # a full repr takes seconds
