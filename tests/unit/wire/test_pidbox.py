"""Commands and replies as they travel."""

from __future__ import annotations

import json

import pytest

from umbel.errors import ContentDisallowed, DecodeError
from umbel.model.message import EncodedMessage
from umbel.wire import pidbox
from umbel.wire.pidbox import Command
from umbel.wire.serializers import JSON

ACCEPT = frozenset({"application/json"})

CAPTURED = {
    # What a client of Celery 5.7 sends.
    "method": "revoke",
    "arguments": {"task_id": "6cc99c97", "terminate": False, "signal": "SIGTERM"},
    "destination": None,
    "pattern": None,
    "matcher": None,
    "ticket": "8bf562c0",
    "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "23515cde"},
}


def message(body, content_type="application/json", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return EncodedMessage(
        headers=headers,
        properties={},
        body=data,
        content_type=content_type,
        content_encoding="utf-8",
    )


def test_a_command_of_celerys_is_read():
    assert pidbox.decode_command(message(CAPTURED, clock=7, expires=0), ACCEPT) == Command(
        method="revoke",
        arguments=CAPTURED["arguments"],
        ticket="8bf562c0",
        reply_exchange="reply.celery.pidbox",
        reply_key="23515cde",
        clock=7,
    )


def test_a_command_is_written_as_celery_writes_it():
    command = pidbox.decode_command(message(CAPTURED, clock=7), ACCEPT)
    told = pidbox.encode_command(command, serializer=JSON, expires=12.5)
    assert json.loads(told.body) == CAPTURED
    assert told.headers == {"clock": 7, "expires": 12.5}


def test_who_wants_no_reply_sends_no_ticket():
    told = pidbox.encode_command(Command(method="heartbeat", ticket="t"), serializer=JSON)
    assert not {"ticket", "reply_to"} & json.loads(told.body).keys()


def test_a_reply_comes_back():
    told = pidbox.encode_reply("w@here", {"ok": "pong"}, ticket="t", clock=4, serializer=JSON)
    assert pidbox.decode_reply(told, ACCEPT) == ("t", {"w@here": {"ok": "pong"}})
    assert told.headers["clock"] == 4


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        3,
        [],
        {},
        {"method": 3},
        {"method": "ping", "arguments": [1]},
        {"method": "ping", "destination": 3},
    ],
)
def test_what_is_no_command_is_refused(body):
    with pytest.raises(DecodeError):
        pidbox.decode_command(message(body), ACCEPT)


def test_content_that_is_not_accepted_is_not_opened():
    with pytest.raises(ContentDisallowed):
        pidbox.decode_command(message(b"x", "application/x-python-serialize"), ACCEPT)


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, True),
        ({"destination": ("w1@here",)}, True),
        ({"destination": ("w2@here",)}, False),
        ({"destination": ("w2@here",), "pattern": "*", "matcher": "glob"}, False),
        ({"pattern": "w*@here", "matcher": "glob"}, True),
        ({"pattern": "W*", "matcher": "glob"}, False),
        ({"pattern": "w[12]@", "matcher": "pcre"}, True),
        ({"pattern": "1@", "matcher": "pcre"}, False),
        ({"pattern": "w(", "matcher": "pcre"}, False),
        ({"pattern": "*", "matcher": "astrology"}, False),
        ({"pattern": "nobody"}, True),
    ],
)
def test_who_is_meant(fields, meant):
    assert Command(method="ping", **fields).is_for("w1@here") is meant
