"""Signatures as mappings."""

from __future__ import annotations

from typing import Any

import pytest

from umbel.errors import DecodeError
from umbel.wire.signature_dict import KEYS, read_signature, read_signatures, write_signature


def test_a_written_signature_has_exactly_the_six_keys() -> None:
    written = write_signature("t.add", [1], {"y": 2}, {"queue": "q"}, immutable=True)
    assert tuple(written) == KEYS
    assert read_signature(written) == written


def test_missing_parts_take_their_defaults() -> None:
    assert read_signature({"task": "t.add", "args": None, "extra": 1}) == write_signature("t.add")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("t.add", "the link is a str, not a mapping"),
        ({}, "the link names no task"),
        ({"task": 3}, "its key 'task' is 3"),
        ({"task": "t", "args": "ab"}, "the link for t has str args, not a list"),
        ({"task": "t", "kwargs": [1]}, "the link has list kwargs, not a mapping"),
        ({"task": "t", "options": 1}, "the link has int options, not a mapping"),
    ],
)
def test_what_cannot_be_a_signature_is_refused(value: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read_signature(value, "the link")


def test_lists_of_signatures() -> None:
    one = write_signature("t.add")
    assert read_signatures(None, "links") is None
    assert read_signatures([], "links") is None
    assert read_signatures(one, "links") == [one]
    assert read_signatures([one, one], "links") == [one, one]
    with pytest.raises(DecodeError, match="links is a str, not a list of signatures"):
        read_signatures("t.add", "links")
