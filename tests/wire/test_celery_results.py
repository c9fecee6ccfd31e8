"""Result documents recorded from Celery: read, and written again the same."""

from __future__ import annotations

import json
import math
import sys
import types
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.wire.calls import ETA, ID, UNICODE
from tests.wire.recordings import names, raws
from umbel import errors
from umbel.errors import TaskError
from umbel.model.outcome import EXCEPTION_STATES, READY_STATES
from umbel.ports import Serializer
from umbel.wire.portable_errors import from_portable, to_portable
from umbel.wire.result_meta import decode, encode
from umbel.wire.serializers import JSON, SERIALIZERS


def serializer_of(name: str) -> Serializer:
    first = name.split("_", 1)[0]
    return SERIALIZERS.get(first) if first in SERIALIZERS.names() else JSON


def documents(name: str) -> list[dict[str, Any]]:
    serializer = serializer_of(name)
    return [decode(raw, serializer=serializer) for raw in raws("results", name, "documents")]


def last(name: str) -> dict[str, Any]:
    return documents(name)[-1]


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("results"))
def test_every_document_is_read(name: str) -> None:
    found = documents(name)
    assert found
    for fields in found:
        assert fields["task_id"]
        assert fields["status"] in {"STARTED", "PROGRESS", "RETRY", *READY_STATES}
        assert (fields["date_done"] is not None) == (fields["status"] in READY_STATES)


def test_values() -> None:
    assert last("worker_success")["result"] == 5
    assert last("worker_success_none")["result"] is None
    assert last("worker_success_unicode")["result"] == UNICODE
    native = last("worker_success_native")["result"]
    assert math.isnan(native.pop("floats")[0])
    assert native == {"when": ETA, "price": Decimal("1.50"), "raw": b"\xff\xfe"}
    assert last("worker_hybrid")["result"] == 9


@pytest.mark.parametrize("name", ["pickle", "yaml", "msgpack", "compressed_zlib", "berlin"])
def test_values_of_every_serializer(name: str) -> None:
    assert last(f"{name}_success")["result"] == {"a": [1, 2.5, None, "é"], "b": "x" * 300}


def test_states_on_the_way() -> None:
    states = documents("worker_tracked")
    assert [fields["status"] for fields in states] == ["STARTED", "PROGRESS", "SUCCESS"]
    assert states[0]["result"]["hostname"] == "goldens@host"
    assert states[1]["result"] == {"done": 3, "of": 10}


def test_a_returned_result_is_its_tuple() -> None:
    expected = [["22222222-2222-4222-8222-222222222222", None], None]
    assert last("worker_gives_result")["result"] == expected


def test_lineage() -> None:
    first, second = documents("worker_chain")
    assert second["parent_id"] == first["task_id"]
    assert first["children"] == [[[second["task_id"], None], None]]
    one, two = documents("worker_group")
    assert one["group_id"] == two["group_id"]


def test_extended() -> None:
    fields = last("extended_success")
    assert (fields["name"], fields["args"], fields["kwargs"]) == ("goldens.add", [2, 3], {})
    assert (fields["worker"], fields["retries"], fields["queue"]) == ("goldens@host", 0, "celery")
    fields = last("extended_stamped")
    assert set(fields["stamped_headers"]) == {"owner", "tags"}
    assert (fields["owner"], fields["tags"]) == ("ada", ["a", "b"])


FAILURES: dict[str, BaseException] = {
    "worker_failure_value": ValueError("c", 42),
    "worker_failure_key": KeyError("missing"),
    "worker_failure_reject": errors.Reject("because", False),
    "worker_failure_unregistered": errors.NotRegistered("goldens.nowhere"),
    "worker_failure_hard_limit": errors.TimeLimitExceeded(1),
    "worker_failure_soft_limit": errors.SoftTimeLimitExceeded(),
    "worker_retry": KeyError("again"),
    "worker_revoked_expired": errors.TaskRevokedError("expired"),
    "pickle_failure": ValueError("c", 42),
    "yaml_failure": ValueError("c", 42),
    "msgpack_failure": ValueError("c", 42),
    "pickle_revoked": errors.TaskRevokedError("revoked"),
}


def exception(name: str) -> BaseException:
    result = last(name)["result"]
    return result if isinstance(result, BaseException) else from_portable(result)


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_the_class_they_were(name: str) -> None:
    error = exception(name)
    assert type(error) is type(FAILURES[name])
    assert error.args == FAILURES[name].args


def test_failures_with_texts_of_celerys_own() -> None:
    for name, kind in (
        ("worker_failure_lost", errors.WorkerLostError),
        ("worker_failure_max_retries", errors.MaxRetriesExceededError),
        ("worker_chord_failed", errors.ChordError),
        ("worker_failure_arguments", TypeError),
    ):
        error = exception(name)
        assert type(error) is kind
        assert str(error)


def test_a_retry_without_a_cause_has_no_exception() -> None:
    assert last("worker_retry_plain")["result"] is None


def test_arguments_that_could_not_be_written() -> None:
    error = exception("worker_failure_unserialisable")
    assert error.args[0].startswith("<object object at 0x")
    assert error.args[1] == "fine"


ODD = ["worker_failure_picky", "yaml_failure_picky", "pickle_failure_picky"]


def test_a_nested_class_not_imported_here() -> None:
    error = exception("worker_failure_nested")
    assert isinstance(error, TaskError)
    assert repr(error) == "Inner('deep')"
    assert type(error).__module__ == "goldens_app"


@pytest.mark.parametrize("name", ODD)
def test_an_exception_that_wants_more_than_its_args(name: str) -> None:
    assert repr(exception(name)) == "Picky('7: no')"


def test_classes_are_found_where_they_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Outer:
        class Inner(Exception):
            pass

    class Picky(Exception):
        def __init__(self, code: int, *, reason: str) -> None:
            super().__init__(f"{code}: {reason}")

    module = types.ModuleType("goldens_app")
    module.Outer = Outer  # type: ignore[attr-defined]
    module.Picky = Picky  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "goldens_app", module)
    assert type(exception("worker_failure_nested")) is Outer.Inner
    for name in ODD:
        assert type(exception(name)) is Picky
        assert str(exception(name)) == "7: no"


# --- writing --------------------------------------------------------------------------------------

KNOWN = ("status", "result", "traceback", "children", "date_done", "task_id", "group_id")


def again(fields: dict[str, Any], serializer: Serializer, **more: Any) -> bytes:
    result = fields["result"]
    if fields["status"] in EXCEPTION_STATES and isinstance(result, dict):
        result = from_portable(result)
    done = fields["date_done"]
    return encode(
        task_id=fields["task_id"],
        status=fields["status"],
        result=result,
        traceback=fields["traceback"],
        children=fields["children"],
        date_done=None if done is None else datetime.fromisoformat(done),
        group_id=fields.get("group_id"),
        parent_id=fields.get("parent_id"),
        extended={
            name: value for name, value in fields.items() if name not in (*KNOWN, "parent_id")
        },
        serializer=serializer,
        **more,
    )


def shown(fields: dict[str, Any]) -> str:
    """Return a text that is equal for equal documents, NaN and exceptions included."""
    return repr(fields)


WRAPPED = {"worker_failure_picky"}


@pytest.mark.parametrize("name", [name for name in names("results") if name not in WRAPPED])
def test_writes_what_celery_writes(name: str) -> None:
    serializer = serializer_of(name)
    for raw in raws("results", name, "documents"):
        theirs = decode(raw, serializer=serializer)
        zone = UTC if theirs["date_done"] is None else None
        more: dict[str, Any] = {}
        if zone is None:
            more["timezone"] = datetime.fromisoformat(theirs["date_done"]).tzinfo
        ours = decode(again(theirs, serializer, **more), serializer=serializer)
        assert shown(ours) == shown(theirs)


@pytest.mark.parametrize("name", ["zlib", "bzip2"])
def test_writes_the_same_compressed_bytes_around_the_document(name: str) -> None:
    (raw,) = raws("results", f"compressed_{name}_success", "documents")
    ours = again(decode(raw, serializer=JSON), JSON, compression=name)
    marker = raw[: raw.index(b"\x00", len(b"\x00celery-compressed\x00")) + 1]
    assert ours.startswith(marker)


@pytest.mark.parametrize("name", [name for name in FAILURES if name.startswith("worker")])
def test_our_errors_become_the_same_fields(name: str) -> None:
    assert json.loads(JSON.dumps(to_portable(FAILURES[name]))) == last(name)["result"]


def test_the_id_that_was_given() -> None:
    assert last("worker_success")["task_id"] == ID
