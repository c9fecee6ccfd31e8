"""Nested workflows of the load: their runs, their values, and the workflow that is made of them."""

from __future__ import annotations

import random

from torture.load import WORKFLOWS, make_calls
from torture.trees import make_tree, runs_of, value_of


def test_the_values_of_a_tree():
    header = [["work", 0, "a"], ["chain", [["work", 1, "b"], ["follow", 2, "c"]]]]
    tree = ["chain", [["chord", header, 3, "d"], ["follow", 4, "e"]]]
    assert list(runs_of(tree, 10)) == [
        (0, "a", 10),
        (1, "b", 11),
        (2, "c", 12),
        (3, "d", 22),
        (4, "e", 23),
    ]
    assert value_of(tree, 10) == 23
    assert value_of(["group", header], 10) == [10, 12]


def test_every_step_has_one_run_and_the_first_begins_at_once():
    for seed in range(300):
        dice = random.Random(seed)
        tree = make_tree(dice, dice.choice(("group", "nested")), str)
        steps = [(step, task_id) for step, task_id, _ in runs_of(tree, 0)]
        assert sorted(steps) == [(step, str(step)) for step in range(len(steps))]
        assert steps[0][0] == 0
        assert 2 <= len(steps) <= 80


def test_workflows_are_of_every_kind_and_sometimes_deep():
    calls = make_calls(7, 400, 3.0, WORKFLOWS)
    assert {call.kind for call in calls} == set(WORKFLOWS)
    nested = [call for call in calls if call.kind == "nested"]
    assert max(len(call.outcomes()) for call in nested) > 10
    assert {call.tree[0] for call in nested if call.tree} == {"chain", "chord", "group"}
    assert all(call.words()["value"] == call.value for call in calls)
