"""Result documents."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.errors import BackendGetMetaError, DecodeError, EncodeError, TaskError, TaskRevokedError
from umbel.wire.portable_errors import from_portable
from umbel.wire.result_meta import decode, encode
from umbel.wire.serializers import JSON, SERIALIZERS

DONE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PICKLE = SERIALIZERS.get("pickle")
RESULTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def written(**fields: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "task_id": "i1",
        "status": "SUCCESS",
        "result": None,
        "date_done": DONE,
        "serializer": JSON,
    }
    document = encode(**{**defaults, **fields})
    return decode(document, serializer=fields.get("serializer", JSON))


@given(RESULTS, st.text(), st.none() | st.text(), st.none() | st.text(min_size=1))
def test_what_is_stored_is_read(
    result: Any, task_id: str, traceback: str | None, group_id: str | None
) -> None:
    fields = written(result=result, task_id=task_id, traceback=traceback, group_id=group_id)
    assert fields["result"] == result
    assert (fields["task_id"], fields["traceback"]) == (task_id, traceback)
    assert fields.get("group_id") == group_id
    assert ("group_id" in fields) == (group_id is not None)


def test_the_document_of_a_plain_success() -> None:
    assert written(result=4) == {
        "status": "SUCCESS",
        "result": 4,
        "traceback": None,
        "children": [],
        "date_done": "2026-01-02T03:04:05+00:00",
        "task_id": "i1",
    }


def test_quick_and_general_writers_agree() -> None:
    common: dict[str, Any] = {"result": date(2020, 1, 2), "group_id": 'g"1', "parent_id": "p"}
    quick = written(**common)
    general = written(**common, extended={"name": "t.add"})
    assert general.pop("name") == "t.add"
    assert list(general.items()) == list(quick.items())


@pytest.mark.parametrize("status", ["STARTED", "RETRY", "PROGRESS", "PENDING"])
def test_only_final_states_have_a_date(status: str) -> None:
    assert written(status=status)["date_done"] is None


def test_the_date_is_in_the_given_zone() -> None:
    zone = timezone(timedelta(hours=2))
    assert written(timezone=zone)["date_done"] == "2026-01-02T05:04:05+02:00"


def test_children_and_their_absence() -> None:
    child = (("i2", None), None)
    assert written(children=[child])["children"] == [[["i2", None], None]]
    assert written(children=None)["children"] is None


def test_extended_fields_and_stamps_are_flat() -> None:
    fields = written(extended={"name": "t.add", "args": [1], "stamped_headers": ["a"], "a": "x"})
    assert (fields["args"], fields["a"]) == ([1], "x")
    assert list(fields)[-1] == "task_id"


@pytest.mark.parametrize("name", ["json", "yaml", "msgpack"])
@pytest.mark.parametrize("status", ["FAILURE", "RETRY", "REVOKED"])
def test_exceptions_become_fields(name: str, status: str) -> None:
    error = ValueError("c", 42)
    fields = written(status=status, result=error, serializer=SERIALIZERS.get(name))
    assert fields["result"] == {
        "exc_type": "ValueError",
        "exc_message": ["c", 42],
        "exc_module": "builtins",
    }
    assert repr(from_portable(fields["result"])) == repr(error)


def test_a_pickled_exception_is_itself() -> None:
    fields = written(status="FAILURE", result=ValueError("c", 42), serializer=PICKLE)
    assert repr(fields["result"]) == "ValueError('c', 42)"


def test_a_pickled_error_of_ours_is_one_that_celery_knows() -> None:
    error = TaskRevokedError("expired")
    document = encode(
        task_id="i1", status="REVOKED", result=error, date_done=DONE, serializer=PICKLE
    )
    assert b"celery.exceptions" in document
    assert b"umbel" not in document
    assert repr(decode(document, serializer=PICKLE)["result"]) == repr(error)


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


def test_an_exception_that_cannot_be_pickled_is_told() -> None:
    for error in (Picky(7, reason="no"), ValueError(lambda: 1)):
        result = written(status="FAILURE", result=error, serializer=PICKLE)["result"]
        assert isinstance(result, TaskError)
        assert type(error).__name__ in str(result)


def test_a_result_that_cannot_be_written() -> None:
    with pytest.raises(
        EncodeError, match=r"result of task i1 cannot be .*'json': a set at \['result'\]"
    ):
        written(result={1})


@pytest.mark.parametrize("name", ["zlib", "bzip2"])
def test_compressed_documents_are_told_by_their_marker(name: str) -> None:
    fields = {"task_id": "i1", "status": "SUCCESS", "result": "x" * 900, "date_done": DONE}
    document = encode(**fields, serializer=JSON, compression=name)  # type: ignore[arg-type]
    assert len(document) < 400
    assert document.startswith(b"\x00celery-compressed\x00application/x-")
    assert decode(document, serializer=JSON)["result"] == "x" * 900
    with pytest.raises(DecodeError, match="more than the 500 bytes"):
        decode(document, serializer=JSON, limit=500)


@pytest.mark.parametrize(
    ("document", "kind", "message"),
    [
        (b"{nonsense", DecodeError, "not valid JSON"),
        (b"", DecodeError, "not valid JSON"),
        (b"\x00celery-compressed\x00\xff\x00abc", DecodeError, "is not known here"),
        (b"\x00celery-compressed\x00", DecodeError, "is not known here"),
        (b"[1]", BackendGetMetaError, "what is stored is a list, not a result document"),
        (b"{}", BackendGetMetaError, "has the status None, which is not a state"),
        (json.dumps({"status": 3}).encode(), BackendGetMetaError, "has the status 3"),
    ],
)
def test_what_is_no_result_document(document: bytes, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        decode(document, serializer=JSON)
