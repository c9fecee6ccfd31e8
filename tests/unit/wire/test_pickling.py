"""Pickles that mention Celery's classes, read without Celery."""

from __future__ import annotations

import pickle
import pickletools
from types import NoneType
from typing import Any

import pytest

from umbel import errors
from umbel.errors import DecodeError, EncodeError
from umbel.wire import pickling


def reference(module: str, name: str, *args: Any) -> bytes:
    """Return a pickle of ``module.name(*args)``, as if that module were there."""
    parts = [b"\x80\x04", pickle.SHORT_BINUNICODE + bytes([len(module)]) + module.encode()]
    parts += [pickle.SHORT_BINUNICODE + bytes([len(name)]) + name.encode(), pickle.STACK_GLOBAL]
    inner = pickle.dumps(args, 4)
    parts += [inner[2 + 9 : -1] if inner[2:3] == pickle.FRAME else inner[2:-1]]
    return b"".join(parts) + pickle.REDUCE + pickle.STOP


def test_signatures_become_mappings() -> None:
    mapping = {"task": "t.add", "args": (1,), "kwargs": {}, "options": {}}
    assert pickling.loads(reference("celery.canvas", "signature", mapping)) == mapping


def test_celerys_errors_become_ours() -> None:
    error = pickling.loads(reference("celery.exceptions", "TaskRevokedError", "expired"))
    assert isinstance(error, errors.TaskRevokedError)
    error = pickling.loads(reference("billiard.exceptions", "WorkerLostError", "gone"))
    assert (type(error), error.args) == (errors.WorkerLostError, ("gone",))


@pytest.mark.parametrize("module", ["celery.app.base", "kombu.connection", "billiard.pool"])
def test_other_classes_of_theirs_are_refused(module: str) -> None:
    with pytest.raises(DecodeError, match=f"refers to {module}.Thing, which has no counterpart"):
        pickling.loads(reference(module, "Thing"))


def test_values_of_ones_own_pass() -> None:
    value = {"error": ValueError("x", 1), "set": {1, 2}}
    assert repr(pickling.loads(pickling.dumps(value))) == repr(value)


def test_a_missing_class_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="No module named 'nowhere'"):
        pickling.loads(reference("nowhere", "Thing"))


def test_a_constructor_that_raises_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="ValueError"):
        pickling.loads(reference("builtins", "int", "x"))


def test_what_cannot_be_pickled_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="cannot be pickled"):
        pickling.dumps(lambda: None)


def references(data: bytes) -> set[str]:
    return {arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)}


@pytest.mark.parametrize(
    "error",
    [
        errors.TaskRevokedError("expired"),
        errors.Retry("again", ValueError("x"), 3),
        errors.MaxRetriesExceededError("no more", task_args=(1,)),
        errors.WorkerLostError("gone"),
    ],
)
def test_our_errors_are_pickled_under_celerys_names(error: Exception) -> None:
    data = pickling.dumps_for_celery({"result": error, "twice": [error, type(error)]})
    assert not {text for text in references(data) if text.startswith("umbel")}
    back = pickling.loads(data)
    assert type(back["result"]) is type(error)
    assert back["result"].args[:1] == error.args[:1]
    assert back["twice"][0] is back["result"]
    assert back["twice"][1] is type(error)


def test_other_classes_keep_their_names() -> None:
    data = pickling.dumps_for_celery([ValueError("x"), errors.UmbelError("y"), int, len, NoneType])
    expected = [ValueError("x"), errors.UmbelError("y"), int, len, NoneType]
    assert repr(pickle.loads(data)) == repr(expected)
    with pytest.raises(EncodeError, match="cannot be pickled"):
        pickling.dumps_for_celery(lambda: None)
