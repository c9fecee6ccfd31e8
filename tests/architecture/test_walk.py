"""The walk of one task stays short. A budget, not a goal: it may only be lowered."""

from __future__ import annotations

import pytest

from tools.measure_walk import Leg, walk

BUDGET = {
    # leg: functions, files, depth (docs/design/0005)
    "caller": (60, 21, 13),
    "worker": (94, 26, 10),
    "reader": (47, 16, 11),
}


@pytest.fixture(scope="module")
def legs() -> dict[str, Leg]:
    return {leg.name: leg for leg in walk()}


@pytest.mark.parametrize("name", sorted(BUDGET))
def test_a_leg_of_the_walk_keeps_to_its_budget(legs, name):
    leg = legs[name]
    measured = (len(leg.functions), len(leg.files), leg.depth)
    story = "\n".join(f"  {file:34} {function}" for file, function in leg.functions)
    for found, allowed, unit in zip(
        measured, BUDGET[name], ("functions", "files", "levels"), strict=True
    ):
        assert found <= allowed, f"{name}: {found} {unit}, {allowed} allowed:\n{story}"


def test_the_walk_meets_the_rooms_in_the_order_the_architecture_page_tells(legs):
    caller = legs["caller"].files
    order = ["app/task.py", "app/sending.py", "wire/task_v2.py", "app/publishing.py"]
    assert [file for file in caller if file in order] == order
    worker = legs["worker"].files
    order = [
        "worker/intake.py",
        "worker/admission.py",
        "worker/supervisor.py",
        "worker/execution.py",
        "app/running.py",
    ]
    assert [file for file in worker if file in order] == order
