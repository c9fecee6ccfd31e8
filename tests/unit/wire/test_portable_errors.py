"""Exceptions as three fields, and back."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel import errors
from umbel.errors import DecodeError, TaskError, WireError
from umbel.wire.portable_errors import UnknownTaskError, describe, from_portable, to_portable
from umbel.wire.serializers import SERIALIZERS


class Outer:
    class Inner(Exception):
        pass


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Unprintable(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(code)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class NotAnError:
    pass


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text()))
def test_class_and_arguments_survive(args: list[Any]) -> None:
    for kind in (ValueError, Outer.Inner, errors.ChordError):
        back = from_portable(to_portable(kind(*args)))
        assert type(back) is kind
        assert back.args == tuple(args)


def test_nested_classes_have_dotted_names() -> None:
    portable = to_portable(Outer.Inner("deep"))
    assert portable == {
        "exc_type": "Outer.Inner",
        "exc_message": ["deep"],
        "exc_module": __name__,
    }


def test_arguments_that_cannot_be_written_become_their_repr() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    message = to_portable(ValueError({1}, (1, "x"), Rude()))["exc_message"]
    assert message == ["{1}", (1, "x"), "<Rude: its repr raised RuntimeError>"]
    message = to_portable(ValueError(1 + 2j), SERIALIZERS.get("msgpack"))["exc_message"]
    assert message == ["(1+2j)"]


@pytest.mark.parametrize(
    ("error", "module", "name"),
    [
        (errors.TaskRevokedError("revoked"), "celery.exceptions", "TaskRevokedError"),
        (errors.NotRegistered("t.no"), "celery.exceptions", "NotRegistered"),
        (errors.MaxRetriesExceededError("x"), "celery.exceptions", "MaxRetriesExceededError"),
        (errors.Reject("because", False), "celery.exceptions", "Reject"),
        (errors.Ignore(), "celery.exceptions", "Ignore"),
        (errors.Retry("m"), "celery.exceptions", "Retry"),
        (errors.ChordError("x"), "celery.exceptions", "ChordError"),
        (errors.ResultTimeout("x"), "celery.exceptions", "TimeoutError"),
        (errors.WorkerLostError("x"), "billiard.exceptions", "WorkerLostError"),
        (errors.TimeLimitExceeded(1), "billiard.exceptions", "TimeLimitExceeded"),
        (errors.SoftTimeLimitExceeded(), "billiard.exceptions", "SoftTimeLimitExceeded"),
        (errors.OperationalError("x"), "kombu.exceptions", "OperationalError"),
    ],
)
def test_our_errors_travel_under_the_names_celery_knows(
    error: BaseException, module: str, name: str
) -> None:
    portable = to_portable(error)
    assert (portable["exc_module"], portable["exc_type"]) == (module, name)
    assert type(from_portable(portable)) is type(error)


def test_an_unknown_class_is_stood_in_for() -> None:
    portable = {"exc_type": "Shop.Closed", "exc_message": ["till", 9], "exc_module": "shop.errors"}
    error = from_portable(portable)
    assert isinstance(error, TaskError)
    assert repr(error) == "Closed('till', 9)"
    assert type(error).__module__ == "shop.errors"
    assert type(error) is type(from_portable(portable))
    assert to_portable(error) == portable
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args) == (type(error), error.args)


def test_strangers_cannot_fill_the_memory_with_classes() -> None:
    for number in range(1100):
        from_portable({"exc_type": f"E{number}", "exc_message": [], "exc_module": "flood"})
    assert len(UnknownTaskError._stand_ins) <= 1000


def test_nothing_is_imported_to_find_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "this", raising=False)
    error = from_portable({"exc_type": "Zen", "exc_message": [], "exc_module": "this"})
    assert isinstance(error, TaskError)
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), (__name__, "NotAnError")]
)
def test_what_is_not_an_exception_is_refused(module: str, name: str) -> None:
    with pytest.raises(WireError, match=rf"{module}\.{name}, which is not an exception class"):
        from_portable({"exc_type": name, "exc_message": ["true"], "exc_module": module})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("text", "is a str, not a mapping"),
        ({}, "names no class: its exc_type is None"),
        ({"exc_type": "E", "exc_module": 3}, "exc_module of a stored failure is 3"),
    ],
)
def test_malformed_fields(fields: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        from_portable(fields)


def test_a_constructor_that_wants_more_is_not_called() -> None:
    error = from_portable(to_portable(Picky(7, reason="no")))
    assert type(error) is Picky
    assert str(error) == "7: no"


def test_an_error_that_cannot_be_printed_is_stood_in_for() -> None:
    error = from_portable(to_portable(Unprintable(7, reason="no")))
    assert isinstance(error, TaskError)
    assert repr(error) == "Unprintable(7)"


def test_message_may_be_a_plain_text_and_module_missing() -> None:
    error = from_portable({"exc_type": "ValueError", "exc_message": "no"})
    assert repr(error) == "ValueError('no')"


def test_celerys_wrapper_is_taken_off() -> None:
    args = ["builtins", "ValueError", ["c", 42], "ValueError('c', 42)"]
    error = from_portable(
        {
            "exc_type": "UnpickleableExceptionWrapper",
            "exc_message": args,
            "exc_module": "celery.utils.serialization",
        }
    )
    assert repr(error) == "ValueError('c', 42)"


def test_describe_is_short_and_never_raises() -> None:
    class Rude(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    assert describe(ValueError("c", 42)) == "ValueError('c', 42)"
    assert describe(Rude()) == "<Rude: its repr raised RuntimeError>"
    assert len(describe(ValueError("x" * 5000))) == 1024
