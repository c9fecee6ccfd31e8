"""Where the results of a workflow are sent when no store keeps them."""

from __future__ import annotations

from typing import Any

from umbel.workflows.freezing import answer_to


def leaf(**options: Any) -> dict[str, Any]:
    return {"task": "add", "args": [], "kwargs": {}, "options": options, "subtask_type": None}


def node(kind: str, **kwargs: Any) -> dict[str, Any]:
    made = leaf()
    return {**made, "task": f"celery.{kind}", "kwargs": kwargs, "subtask_type": kind}


def answers(*leaves: dict[str, Any]) -> list[Any]:
    return [one["options"].get("reply_to") for one in leaves]


def test_every_run_of_a_workflow_answers_to_its_sender() -> None:
    first, second, third, body = leaf(), leaf(), leaf(), leaf()
    chord = node("chord", header=node("group", tasks=[second, third]), body=body)
    answer_to(node("chain", tasks=[first, chord]), "me")
    assert answers(first, second, third, body) == ["me"] * 4


def test_who_says_where_keeps_it() -> None:
    told, plain = leaf(reply_to="you"), leaf()
    answer_to(node("chord", header=[told], body=plain), "me")
    assert answers(told, plain) == ["you", "me"]


def test_an_empty_workflow_has_nobody_to_tell() -> None:
    empty = node("chain", tasks=[])
    answer_to(empty, "me")
    assert empty["options"] == {}
