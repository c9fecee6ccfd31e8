"""``umbel worker -B`` and ``umbel beat`` as processes: they send, they are killed, they go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.worker_desk import Desk
from umbel.model.schedule_entry import ScheduleEntry

EVERY = 0.4
SETTINGS = {
    "beat_schedule": {"often": {"task": "desk_tasks.add", "schedule": EVERY, "args": (1, 2)}}
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, f"sqlite:///{tmp_path / 'desk.sqlite3'}", **SETTINGS)
    yield desk
    desk.close()


def entry(desk: Desk) -> ScheduleEntry:
    return desk.app.schedule.get("often")


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_with_a_scheduler_sends_and_runs(desk: Desk, pool: str) -> None:
    with desk.worker("-B", "-P", pool, "-l", "info") as worker:
        worker.wait_for(r"Scheduler: sent often \(desk_tasks.add\)", count=2)
        worker.wait_for(r"Task desk_tasks.add\[[-0-9a-f]+\] succeeded", count=2)
        assert worker.end() == 0
    assert entry(desk).runs >= 2
    assert not lives(worker.pid)


def test_a_scheduler_that_is_killed_is_started_anew(desk: Desk) -> None:
    with desk.worker("-B", "-c", "1", "-l", "info") as worker:
        worker.wait_for("Scheduler: sent often")
        os.kill(scheduler_of(worker.pid), signal.SIGKILL)
        worker.wait_for(r"The scheduler of this worker ended \(exit status -9\)")
        worker.wait_for("Scheduler: starting", count=2)
        worker.wait_for("Scheduler: sent often", count=3)
        assert worker.end() == 0


def test_the_scheduler_ends_with_a_worker_that_is_killed(desk: Desk) -> None:
    with desk.worker("-B", "-c", "1", "-l", "info") as worker:
        worker.wait_for("Scheduler: sent often")
        scheduler = os.pidfd_open(scheduler_of(worker.pid))
        worker.signal(signal.SIGKILL)
        worker.wait()
        assert ended(scheduler)


def test_of_many_schedulers_each_run_is_sent_by_one(desk: Desk) -> None:
    with (
        desk.worker("-B", "-c", "1", "-l", "info", "-n", "one@here") as one,
        desk.worker("-B", "-c", "1", "-l", "info", "-n", "two@here") as two,
    ):
        one.wait_for("Scheduler: starting")
        two.wait_for(r"Task desk_tasks.add.* succeeded|Scheduler: sent", count=3)
        one.end()
        two.wait_for("Scheduler: sent often", count=2)
        two.end()
        told = [
            line.rpartition("id ")[2]
            for worker in (one, two)
            for line in worker.output.splitlines()
            if "Scheduler: sent often" in line
        ]
    assert len(told) == len(set(told)) == entry(desk).runs


def test_a_wrong_schedule_stops_the_start(tmp_path: Path) -> None:
    wrong = {"beat_schedule": {"often": {"task": "x"}}}
    desk = Desk(tmp_path, f"sqlite:///{tmp_path / 'desk.sqlite3'}", **wrong)
    with desk.worker("-B", ready=False) as worker:
        assert worker.wait() == 1
        assert "beat_schedule: the entry 'often' has no 'schedule'" in worker.output
    desk.close()


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_green_pools_carry_no_scheduler(desk: Desk, pool: str) -> None:
    with desk.worker("-B", "-P", pool, ready=False) as worker:
        assert worker.wait() == 1
        assert f"-B does not go with the pool {pool}: run umbel beat" in worker.output


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def scheduler_of(worker: int) -> int:
    """The only grandchild of the template that has a parent of its own: template, keeper, it."""
    (template,) = children(worker)
    return next(mine for keeper in children(template) for mine in children(keeper))


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def ended(process: int) -> bool:
    import select

    readable, _, _ = select.select([process], [], [], 20)
    os.close(process)
    return bool(readable)
