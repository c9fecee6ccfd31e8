"""The walk of one task stays short. A budget, not a goal: it may only be lowered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "measure_walk.py"
BUDGET = {
    # leg: functions, files, depth (docs/design/0005)
    "caller": (45, 17, 13),
    "worker": (81, 23, 10),
    "reader": (47, 16, 11),
}


@pytest.fixture(scope="module")
def legs() -> dict[str, dict[str, Any]]:
    # In a process of its own: it sets logging up as a worker does.
    words = [sys.executable, str(TOOL), "--json"]
    told = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    return {leg["name"]: leg for leg in json.loads(told.stdout)}


def files(leg: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(file for file, _ in leg["functions"]))


@pytest.mark.parametrize("name", sorted(BUDGET))
def test_a_leg_of_the_walk_keeps_to_its_budget(legs, name):
    leg = legs[name]
    measured = (len(leg["functions"]), len(files(leg)), leg["depth"])
    story = "\n".join(f"  {file:34} {function}" for file, function in leg["functions"])
    for found, allowed, unit in zip(
        measured, BUDGET[name], ("functions", "files", "levels"), strict=True
    ):
        assert found <= allowed, f"{name}: {found} {unit}, {allowed} allowed:\n{story}"


def test_the_walk_meets_the_rooms_in_the_order_the_architecture_page_tells(legs):
    order = ["app/task.py", "app/sending.py", "wire/task_v2.py", "app/publishing.py"]
    assert [file for file in files(legs["caller"]) if file in order] == order
    order = [
        "worker/intake.py",
        "worker/admission.py",
        "worker/supervisor.py",
        "worker/execution.py",
        "app/running.py",
    ]
    assert [file for file in files(legs["worker"]) if file in order] == order
