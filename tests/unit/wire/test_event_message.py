"""Events as they travel."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from umbel.errors import ContentDisallowed, DecodeError
from umbel.model.message import EncodedMessage
from umbel.wire import event_message
from umbel.wire.serializers import JSON, SERIALIZERS

ACCEPT = frozenset({"application/json"})
EVENT = {"type": "task-started", "uuid": "id-1", "hostname": "w@here", "clock": 3}


def message(body, content_type="application/json"):
    return EncodedMessage(
        headers={}, properties={}, body=body, content_type=content_type, content_encoding="utf-8"
    )


def test_one_event_and_many_come_back_as_they_were():
    one = event_message.encode_one(EVENT, JSON)
    many = event_message.encode_many([EVENT, EVENT], "w@here", JSON)
    assert event_message.decode(one, ACCEPT) == [EVENT]
    assert event_message.decode(many, ACCEPT) == [EVENT, EVENT]
    assert one.headers == many.headers == {"hostname": "w@here"}
    assert one.properties["delivery_mode"] == 1


def test_batches_are_an_array_and_one_is_an_object():
    assert isinstance(json.loads(event_message.encode_many([EVENT], "w", JSON).body), list)
    assert isinstance(json.loads(event_message.encode_one(EVENT, JSON).body), dict)


def test_the_key_is_the_type_with_dots():
    assert event_message.key_of("worker-elect-ack") == "worker.elect.ack"


def test_another_serializer_is_used_when_it_is_set():
    yaml = SERIALIZERS.get("yaml")
    told = event_message.encode_many([EVENT], "w", yaml)
    assert told.content_type == yaml.content_type
    assert event_message.decode(told, frozenset({yaml.content_type})) == [EVENT]


def test_fields_of_the_users_own_keep_their_types():
    moment = datetime(2030, 1, 2, tzinfo=UTC)
    told = event_message.encode_one(EVENT | {"at": moment}, JSON)
    assert event_message.decode(told, ACCEPT)[0]["at"] == moment


def test_half_a_surrogate_pair_in_a_result_is_no_reason_to_stop():
    told = event_message.encode_many([EVENT | {"result": "'\ud800'"}], "w", JSON)
    assert event_message.decode(told, ACCEPT)[0]["result"] == "'\ud800'"


@pytest.mark.parametrize("body", [b"3", b'["x"]', b'{"no": "type"}', b'{"type": 3}', b"{"])
def test_what_is_no_event_is_refused(body):
    with pytest.raises(DecodeError):
        event_message.decode(message(body), ACCEPT)


def test_content_that_is_not_accepted_is_not_opened():
    with pytest.raises(ContentDisallowed):
        event_message.decode(message(b"x", "application/x-python-serialize"), ACCEPT)
