"""Pickles that mention Celery's classes, read without Celery."""

from __future__ import annotations

import pickle
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
