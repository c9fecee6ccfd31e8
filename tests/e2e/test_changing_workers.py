"""Workers that are changed while they run: their size, their queues, their rates; own commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_worker import until
from tests.e2e.worker_desk import PATIENCE, Desk

EXTRA = '''
"""A command of the app's own, and a task with a rate."""
import os
from umbel.control.custom_commands import control_command, inspect_command
from desk_tasks import app, note


@inspect_command(args=[("by", int)], signature="[by]")
def doubled(state, by=1):
    """Tell double."""
    return {"node": state.hostname, "value": 2 * by, "pid": os.getpid()}


@control_command
def stumble(state):
    raise LookupError("over a stone")


@app.task(rate_limit="5/s")
def rated(number: int) -> None:
    note("rated", number)
'''


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "desk_extra.py").write_text(EXTRA, encoding="utf-8")
    made = Desk(
        tmp_path,
        f"sqlite:///{tmp_path}/store.sqlite3",
        include=("desk_extra",),
        worker_autoscale_keepalive=1.0,
    )
    yield made
    made.close()


def umbel(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "umbel", "-A", "desk_tasks", *words, "-t", "10"]
    return subprocess.run(
        command, cwd=desk.home, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_worker_grows_with_what_waits_and_shrinks_again(desk: Desk) -> None:
    with desk.worker("--autoscale", "3,1") as worker:
        held = [desk.tasks.wait_for.delay("gate") for _ in range(3)]
        until(lambda: len(desk.lines("began-gate")) == 3, "three at once")
        assert len(set(desk.lines("began-gate"))) == 3
        desk.create("gate")
        for each in held:
            each.get(timeout=PATIENCE)
        worker.wait_for("Scaling down to 1 slots")
        (reply,) = desk.app.control.autoscale(4, 2, reply=True, timeout=PATIENCE)
        assert list(reply.values()) == [{"ok": "autoscale now max=4 min=2"}]
        (stats,) = desk.app.control.inspect(timeout=PATIENCE).stats().values()
        assert stats["autoscaler"] == {"max": 4, "min": 2, "current": 2, "qty": 0}
        (reply,) = desk.app.control.pool_grow(1, reply=True, timeout=PATIENCE)
        assert "scales by itself" in next(iter(reply.values()))["error"]
        assert desk.tasks.add.delay(1, 2).get(timeout=PATIENCE) == 3


def test_a_queue_is_exchanged_under_a_running_task(desk: Desk) -> None:
    with desk.worker("-c", "2") as worker:
        held = desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        control = desk.app.control
        assert control.add_consumer("more", reply=True, timeout=PATIENCE)
        assert control.cancel_consumer("celery", reply=True, timeout=PATIENCE)
        worker.wait_for("Takes from more now")
        left = desk.tasks.add.delay(1, 1)
        assert desk.tasks.add.apply_async((2, 3), queue="more").get(timeout=PATIENCE) == 5
        desk.create("gate")
        assert held.get(timeout=PATIENCE) == "gate"
        until(lambda: desk.stats() == (1, 0, 0), "one left")
        assert control.add_consumer("celery", reply=True, timeout=PATIENCE)
        assert left.get(timeout=PATIENCE) == 2


def test_what_has_a_rate_rests_and_others_go_past_it(desk: Desk) -> None:
    for number in range(6):
        desk.app.send_task("desk_extra.rated", (number,))
    with desk.worker("-c", "1"):
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2
        assert len(desk.lines("rated")) < 6
        until(lambda: len(desk.lines("rated")) == 6, "all six")
        assert desk.lines("rated") == ["0", "1", "2", "3", "4", "5"]


def test_commands_of_ones_own(desk: Desk) -> None:
    with desk.worker("-c", "1", "-n", "w1@own") as worker:
        asked = umbel(desk, "inspect", "doubled", "21", "--json")
        told = json.loads(asked.stdout)["w1@own"]
        assert (told["node"], told["value"]) == ("w1@own", 42)
        assert told["pid"] != worker.pid  # user code never runs in the supervisor
        failed = umbel(desk, "control", "stumble")
        assert failed.returncode == 1
        assert "LookupError('over a stone')" in failed.stdout
        wrong = umbel(desk, "control", "doubled")
        assert (wrong.returncode, "There is no command 'doubled'" in wrong.stderr) == (2, True)
        bad = umbel(desk, "inspect", "doubled", "x")
        assert "by cannot be 'x'" in bad.stderr
