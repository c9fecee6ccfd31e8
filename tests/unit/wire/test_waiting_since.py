"""Since when a message waits, as far as it tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from umbel.model.message import TaskMessage
from umbel.wire.envelope import dump_compact, dump_kombu
from umbel.wire.serializers import JSON
from umbel.wire.task_v2 import encode
from umbel.wire.waiting_since import oldest, waiting_since

SENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


NOON = int(SENT.timestamp())


def raw(sent: Any = NOON, **fields: Any) -> bytes:
    properties = {} if sent is None else {"timestamp": sent}
    message = TaskMessage(id="i", task="t", properties=properties, **fields)
    return dump_compact(encode(message, serializer=JSON))


def test_from_its_sending() -> None:
    assert waiting_since(raw()) == SENT


def test_from_kombus_envelope_too() -> None:
    message = TaskMessage(id="i", task="t", properties={"timestamp": SENT.timestamp()})
    encoded = encode(message, serializer=JSON)
    kombu = dump_kombu(encoded, exchange="", routing_key="q", delivery_tag="d")
    assert waiting_since(kombu) == SENT


@pytest.mark.parametrize("shift", [-60, 60])
def test_from_its_time_where_that_came_later(shift: int) -> None:
    eta = SENT + timedelta(seconds=shift)
    assert waiting_since(raw(eta=eta)) == max(SENT, eta)


@pytest.mark.parametrize("timestamp", [None, "yesterday", True, 1e300])
def test_unknown_where_it_does_not_say(timestamp: Any) -> None:
    assert waiting_since(raw(timestamp)) is None


def test_unknown_where_it_cannot_be_read() -> None:
    assert waiting_since(b"\xffdamaged") is None


def test_the_oldest_of_several() -> None:
    later = int((SENT + timedelta(hours=1)).timestamp())
    assert oldest([raw(later), raw(None), raw()]) == SENT
    assert oldest([raw(None)]) is None
    assert oldest([]) is None
