"""Messages as AMQP properties, and how often they were tried."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from umbel.drivers.amqp.frames import Delivered
from umbel.drivers.amqp.messages import (
    COUNT_HEADER,
    LOSSES,
    NATIVE_COUNT,
    again,
    message_of,
    properties_of,
    raw_of,
    tried_before,
)
from umbel.model.message import EncodedMessage
from umbel.wire import envelope


def message(**headers: Any) -> EncodedMessage:
    return EncodedMessage(
        headers={"task": "shop.add", "id": "an-id", **headers},
        properties={"correlation_id": "an-id", "reply_to": "me", "priority": 3},
        body=b"[[1, 2], {}, {}]",
        content_type="application/json",
        content_encoding="utf-8",
    )


def delivered(sent: EncodedMessage) -> Delivered:
    properties = properties_of(sent)
    return Delivered(1, "umbel-1", 7, False, "", "celery", properties, sent.body)


@pytest.mark.parametrize(
    ("headers", "tried"),
    [
        ({}, 0),
        ({COUNT_HEADER: 2}, 2),
        ({NATIVE_COUNT: LOSSES - 1}, 0),
        ({NATIVE_COUNT: LOSSES}, 1),
        ({NATIVE_COUNT: 3 * LOSSES - 1, COUNT_HEADER: 1}, 3),
        ({NATIVE_COUNT: -1, COUNT_HEADER: "2"}, 0),
    ],
)
def test_one_of_five_lost_connections_is_taken_for_a_delivery(
    headers: dict[str, Any], tried: int
) -> None:
    assert tried_before(headers) == tried


def test_what_is_published_anew_says_how_often_it_was_tried_and_nothing_of_the_broker() -> None:
    came = message(**{NATIVE_COUNT: 7, COUNT_HEADER: 1, "x-death": [{"count": 1}], "mine": "x"})
    assert again(came, tried=2).headers == {
        "task": "shop.add",
        "id": "an-id",
        "mine": "x",
        COUNT_HEADER: 2,
    }
    assert COUNT_HEADER not in again(came, tried=0).headers


def test_there_and_back() -> None:
    back = message_of(delivered(message(retries=2)))
    assert back.headers == message(retries=2).headers
    assert (back.body, back.content_type) == (b"[[1, 2], {}, {}]", "application/json")
    assert back.properties["correlation_id"] == "an-id"
    assert back.properties["reply_to"] == "me"
    assert back.properties["priority"] == 3
    assert back.properties["delivery_mode"] == 2


def test_an_expiry_is_the_worker_s_affair_and_a_time_to_live_without_one_the_broker_s() -> None:
    with_expiry = EncodedMessage(
        headers={"expires": "2030-01-01T00:00:00+00:00"},
        properties={"expiration": "1000"},
        body=b"",
        content_type="",
        content_encoding="",
    )
    assert properties_of(with_expiry).expiration is None
    plain = EncodedMessage(
        headers={}, properties={"expiration": 1000}, body=b"", content_type="", content_encoding=""
    )
    assert properties_of(plain).expiration == "1000"


def test_headers_of_other_programs_do_not_stop_a_message() -> None:
    at = datetime(2030, 1, 2, tzinfo=UTC)
    odd = message(price=Decimal("1.5"), at=at, key=b"\xff\x00", nested={"deep": [b"x"]})
    headers = envelope.load(raw_of(odd)).headers
    assert headers["task"] == "shop.add"
    assert str(headers["price"]) == "1.5"
