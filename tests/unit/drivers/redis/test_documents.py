"""The state inside a result document, whatever it is written in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from umbel.drivers.documents import UNREADABLE, record_of, state_of
from umbel.wire import result_meta
from umbel.wire.serializers import SERIALIZERS


@pytest.mark.parametrize("name", ["json", "pickle", "yaml", "msgpack"])
@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED", "PROGRESS"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_serializer(name: str, state: str, compression: str | None) -> None:
    document = result_meta.encode(
        task_id="t",
        status=state,
        result=5,
        date_done=datetime.now(UTC),
        serializer=SERIALIZERS.get(name),
        compression=compression,
    )
    assert state_of(document) == state
    found = record_of("t", document)
    assert (found.state, found.task_id, found.document) == (state, "t", document)
    assert found.final is (state in {"SUCCESS", "FAILURE"})


@pytest.mark.parametrize(
    ("document", "state"),
    [
        (b'{"status": "SUCCESS", "result": 4}', "SUCCESS"),
        (b'{"result": {"status": "wrong"}, "status": "mine"}', "mine"),
        (b'{"result": 1}', UNREADABLE),
        (b"{", UNREADABLE),
        (b"", UNREADABLE),
        (b"\x00celery-compressed\x00application/none\x00xx", UNREADABLE),
        (bytes(range(256)), UNREADABLE),
    ],
)
def test_odd_documents(document: bytes, state: str) -> None:
    assert state_of(document) == state
