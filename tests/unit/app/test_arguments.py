from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.app.arguments import ArgumentCheck
from umbel.errors import TaskSignatureMismatch, UsageError


def check(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    bound: bool = False,
) -> None:
    ArgumentCheck("proj.t", function, bound=bound, types=True).check(args, kwargs or {})


def simple(a, b, c=3): ...  # type: ignore[no-untyped-def]
def open_ended(a, *rest, **more): ...  # type: ignore[no-untyped-def]
def keywords(a, *, b, c=1): ...  # type: ignore[no-untyped-def]
def positional(a, /, b): ...  # type: ignore[no-untyped-def]
def nothing() -> None: ...


FUNCTIONS = [simple, open_ended, keywords, positional, nothing]


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from("abcdx"), st.integers(), max_size=4),
)
def test_it_agrees_with_python_about_what_fits(
    function: Callable[..., Any], args: list[int], kwargs: dict[str, int]
) -> None:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        with pytest.raises(TaskSignatureMismatch):
            check(function, args, kwargs)
    else:
        check(function, args, kwargs)


def test_the_error_names_task_problem_and_signature() -> None:
    with pytest.raises(TaskSignatureMismatch) as caught:
        check(simple, (1,))
    assert str(caught.value) == (
        "Task proj.t was not sent: missing a required argument: 'b'. Its signature is t(a, b, c=3)."
    )
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, UsageError)


def test_a_bound_task_does_not_count_itself() -> None:
    def task(self: Any, x: Any) -> None: ...

    check(task, (1,), bound=True)
    with pytest.raises(TaskSignatureMismatch, match=r"too many positional .* t\(x: "):
        check(task, (1, 2), bound=True)

    def anything(*args: Any) -> None: ...

    check(anything, (1, 2, 3), bound=True)


def plain(i: int, s: str = "", f: float = 0.0, many: list[int] | None = None) -> None: ...


@pytest.mark.parametrize(
    "args",
    [
        (1,),
        (True,),
        (1, "s", 2, [1]),
        (1, "s", 2.5, (1, 2)),
        (1, "s", 2.5, None),
        (Decimal(1), object(), Decimal(2)),  # not plain values: not judged
    ],
)
def test_values_that_fit_their_annotation_or_cannot_be_judged(args: Sequence[Any]) -> None:
    check(plain, args)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("x",), r"'i' is to be int and got 'x' \(str\)"),
        ((1.5,), r"'i' is to be int and got 1.5 \(float\)"),
        ((None,), r"'i' is to be int and got None \(NoneType\)"),
        ((1, 2), r"'s' is to be str and got 2 \(int\)"),
        ((1, "s", "2"), r"'f' is to be float and got '2' \(str\)"),
        ((1, "s", 2, {}), r"'many' is to be list\[int\] \| None and got {} \(dict\)"),
    ],
)
def test_plain_values_of_the_wrong_type(args: Sequence[Any], text: str) -> None:
    with pytest.raises(TaskSignatureMismatch, match=text):
        check(plain, args)
    names = dict(zip(["i", "s", "f", "many"], args, strict=False))
    with pytest.raises(TaskSignatureMismatch, match=text):
        check(plain, (), names)


def test_annotations_that_allow_more() -> None:
    class Own: ...

    def function(
        a: Any,
        b: Own,
        c: int | Own,
        d: Optional[int],  # noqa: UP045 - the older spelling is the point
        e: int = None,  # type: ignore[assignment]  # noqa: RUF013 - as people write it
    ) -> None: ...

    check(function, ("x", "x", "x", None, None))
    with pytest.raises(TaskSignatureMismatch, match="'d' is to be"):
        check(function, (1, 1, 1, "x"))


def test_annotations_that_cannot_be_evaluated_judge_nothing() -> None:
    def function(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    check(function, ("x",))


def test_without_types_only_the_shape_counts() -> None:
    ArgumentCheck("t", plain, bound=False, types=False).check(("x",), {})
