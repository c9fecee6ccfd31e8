"""The table of steps is the only authority, so all of it is walked."""

from __future__ import annotations

import itertools

import pytest

from umbel.model.lifecycle import STEPS, IllegalStep, Step, step


@pytest.mark.parametrize(("old", "new"), list(itertools.product(Step, Step)))
def test_exactly_the_steps_of_the_table_are_taken(old, new):
    if new in STEPS[old]:
        assert step(old, new) is new
    else:
        with pytest.raises(IllegalStep, match=f"from {old.name} to {new.name}"):
            step(old, new)


def test_every_step_can_be_reached_and_every_life_can_end():
    reached = {Step.CLAIMED}
    while True:
        more = reached | {new for old in reached for new in STEPS[old]}
        if more == reached:
            break
        reached = more
    assert reached == set(Step)
    assert {old for old, news in STEPS.items() if not news} == {Step.SETTLED, Step.ESCAPED}
