"""The steps of a long chain are handed on as they came, and are like any list to who reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from umbel.errors import ContentDisallowed, DecodeError
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.wire.later_steps import WORTH_IT, LaterSteps, read_long
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.wire.task_message import decode
from umbel.wire.task_v2 import encode
from umbel.workflows.advancing import never_begun, next_step

ACCEPT = frozenset({"application/json"})


def step(number: int, **more: Any) -> dict[str, Any]:
    options = {"task_id": f"id-{number}", "queue": "far away" * 10}
    return {"task": "t.add", "args": [number], "kwargs": {}, "options": options, **more}


def message(chain: list[Any], **more: Any) -> EncodedMessage:
    given = TaskMessage(id="own", task="t.add", args=(1, 2), chain=chain, **more)
    return encode(given, serializer=JSON)


def read(encoded: EncodedMessage) -> TaskMessage:
    return decode(encoded, accept=ACCEPT, serializers=SERIALIZERS)


STEPS = [step(number) for number in range(50, 0, -1)]


def test_they_are_read_when_they_are_asked_for() -> None:
    chain = read(message(STEPS)).chain
    assert isinstance(chain, LaterSteps)
    assert len(chain) == 50
    assert chain.next["options"]["task_id"] == "id-1"
    assert chain == STEPS
    assert list(reversed(chain)) == STEPS[::-1]
    assert chain[-1] == STEPS[-1]
    assert chain[:2] == STEPS[:2]
    assert {one.task_id for one in never_begun(chain)} == {f"id-{n}" for n in range(1, 51)}


def test_a_chain_is_the_same_all_the_way() -> None:
    """Message by message, the body is what it would be had every step been read."""
    encoded, expected = message(STEPS), [one["options"]["task_id"] for one in STEPS]
    for left in range(len(STEPS), 0, -1):
        received = read(encoded)
        following = next_step(received)
        assert following is not None
        if following["subtask_type"] == "chain":  # short enough to be read as a whole
            told = [one["options"]["task_id"] for one in following["kwargs"]["tasks"]]
            assert told == expected[:left][::-1]
            return
        assert following["options"]["task_id"] == expected[left - 1]
        rest = following["options"].get("chain")
        sent = TaskMessage(id="n", task="t.add", args=(0,), chain=rest, errbacks=[step(99)])
        encoded = encode(sent, serializer=JSON)
        body = json.loads(encoded.body)
        told = [one["options"]["task_id"] for one in body[2]["chain"]]
        assert told == expected[: left - 1]
        assert body[2]["errbacks"][0]["options"]["task_id"] == "id-99"
        assert list(body[2]) == ["callbacks", "errbacks", "chain", "chord"]
    raise AssertionError("it never became short")


def test_another_serializer_writes_them_too() -> None:
    chain = read(message(STEPS)).chain
    pickle = SERIALIZERS.get("pickle")
    body = pickle.loads(encode(TaskMessage(id="i", task="t", chain=chain), serializer=pickle).body)
    assert body[2]["chain"] == STEPS


def test_what_is_read_as_a_whole() -> None:
    short = read(message(STEPS[-2:])).chain
    assert isinstance(short, list)
    tagged = step(1, kwargs={"at": {"__type__": "uuid", "__value__": {"hex": "0" * 32}}})
    assert isinstance(read(message([*STEPS, tagged])).chain, list)
    filler = "x" * WORTH_IT
    for body in (b"[" + filler.encode(), json.dumps([[filler], {}, {"chain": []}]).encode()):
        assert read_long(body) is None
    misleading = json.dumps([['"chain":[{', filler], {}, {"chain": None}]).encode()
    assert read_long(misleading.replace(b'\\"', b'"')) is None


def test_what_is_wrong_is_said_as_ever() -> None:
    with pytest.raises(DecodeError, match=r"a chain step of task 't\.add' names no task"):
        read(message([*STEPS, {"args": []}]))
    with pytest.raises(ContentDisallowed):
        decode(message(STEPS), accept=frozenset(), serializers=SERIALIZERS)
