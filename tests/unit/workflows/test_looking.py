"""Chords where nothing counts: a message after the members has somebody look at them."""

from __future__ import annotations

import pytest

from umbel.errors import NoResultBackend
from umbel.model.join import OpenJoin
from umbel.wire.gathering import GATHERING_TASK
from umbel.wire.signature_dict import write_signature
from umbel.workflows import policies
from umbel.workflows.beginning import Launch, launches
from umbel.workflows.freezing import assign_ids
from umbel.workflows.planning import Sig, chord_sig, group_sig, normal


def chord_of(*members: str, policy: str | None = None) -> Sig:
    header = group_sig([write_signature(name, (), {}, {}) for name in members], {})
    sig = chord_sig(header, write_signature("body", (), {}, {"queue": "there"}))
    if policy is not None:
        sig["options"][policies.OPTION] = policy
    assign_ids(sig)
    return normal(sig)


def begun(sig: Sig, pause: float | None) -> list[Launch | OpenJoin]:
    return list(launches(sig, look=lambda: pause))


def test_members_then_a_look_at_them() -> None:
    sig = chord_of("a", "b")
    first, second, look = begun(sig, 0.5)
    assert isinstance(first, Launch)
    assert isinstance(second, Launch)
    assert isinstance(look, Launch)
    assert (first.task, second.task, look.task) == ("a", "b", GATHERING_TASK)
    # Nobody counts them, and what they bring must be there to be looked at.
    for member in (first, second):
        assert "chord" not in member.options
        assert member.options["ignore_result"] is False
    group_id, body = look.args
    assert group_id == sig["options"]["task_id"] == first.options["group_id"]
    assert body["task"] == "body"
    ids = [[[member.options["task_id"], None], None] for member in (first, second)]
    assert look.kwargs == {"interval": 0.5, "max_retries": None, "result": ids}
    assert (look.options["queue"], look.options["countdown"]) == ("there", 0.5)


def test_the_same_chord_is_looked_at_by_the_same_message() -> None:
    sig = chord_of("a")
    looks = [begun(sig, 1.0)[-1] for _ in range(2)]
    assert looks[0] == looks[1]


def test_where_something_counts_a_join_is_opened() -> None:
    opened, *members = begun(chord_of("a", "b"), None)
    assert isinstance(opened, OpenJoin)
    assert [each.options["chord"]["task"] for each in members if isinstance(each, Launch)] == [
        "body",
        "body",
    ]


def test_a_policy_that_needs_counting_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(NoResultBackend, match=r"at_least\(1\) needs a result backend that counts"):
        next(launches(chord_of("a", "b", policy="at_least(1)"), look=lambda: 1.0))


def test_all_done_travels_with_the_body() -> None:
    look = begun(chord_of("a", policy="all_done"), 1.0)[-1]
    assert isinstance(look, Launch)
    assert policies.of_body(look.args[1]) == "all_done"
