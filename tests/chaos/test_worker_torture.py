"""Executors, workers, connections and the server are killed while tasks flow; no task is lost.

Faults follow a seed, and are printed with what became of the tasks (``pytest -s``). A longer
torture with more kinds of faults belongs to the release, not to every run of the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.processes import Program
from tests.e2e.worker_desk import Desk
from tests.redis_server import RedisServer
from umbel.errors import OperationalError

TASKS = 3000
FAULTY_SECONDS = 8.0
PATIENCE = 25.0

WORK = '''
"""What the torture has done: a little, and a note that it was."""
import os
import time
from desk_tasks import HOME, app

runs = os.open(HOME / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@app.task
def work(number: int, seconds: float) -> int:
    time.sleep(seconds)
    os.write(runs, f"{number}\\n".encode())
    return number
'''


class Torture:
    """Two workers, what may happen to them, and the books."""

    def __init__(self, desk: Desk, dice: random.Random) -> None:
        self.desk = desk
        self.dice = dice
        self.faults: Counter[str] = Counter()
        self._started = 0
        self.workers: list[Program] = [self._start(), self._start()]

    def _start(self) -> Program:
        self._started += 1
        words = ("-c", "2", "-n", f"w{self._started}@here", "-l", "error", "-I", "torture_tasks")
        return self.desk.worker(*words, ready=False)

    def kill_executor(self) -> None:
        """SIGKILL one grandchild of a worker: an executor at work, or one that just starts."""
        for template in _children(self.dice.choice(self.workers).pid):
            executors = _children(template)
            if executors:
                _kill(self.dice.choice(executors))
                self.faults["executors killed"] += 1

    def kill_worker(self) -> None:
        """SIGKILL one worker and start another in its place."""
        self._replace(signal.SIGKILL, "workers killed")

    def end_worker(self) -> None:
        """SIGTERM one worker, as a deploy does, and start another in its place."""
        self._replace(signal.SIGTERM, "workers told to stop")

    def _replace(self, number: signal.Signals, what: str) -> None:
        old = self.workers.pop(self.dice.randrange(len(self.workers)))
        old.signal(number)
        old.wait()
        old.__exit__(None, None, None)
        self.workers.append(self._start())
        self.faults[what] += 1

    def close(self) -> None:
        for worker in self.workers:
            with worker:
                worker.signal(signal.SIGTERM)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in text.split()]
    return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def torture_of(tmp_path: Path) -> Iterator[Callable[[str, int], Torture]]:
    made: list[Torture] = []

    def make(store: str, seed: int) -> Torture:
        (tmp_path / "torture_tasks.py").write_text(WORK, encoding="utf-8")
        settings: dict[str, Any] = {
            "worker_lease": 1.0,
            "worker_lease_renewal": 0.3,
            # What is killed here is innocent, and may be unlucky more often than a poison task.
            "task_max_deliveries": 50,
        }
        made.append(Torture(Desk(tmp_path, store, **settings), random.Random(seed)))
        return made[-1]

    yield make
    for torture in made:
        torture.close()
        torture.desk.close()


def run(torture: Torture, faults: list[tuple[float, Callable[[], None]]]) -> None:
    """Send, torture for a while, and wait for every result. ``faults``: seconds between, what."""
    desk, dice = torture.desk, torture.dice
    calls = [((number, dice.uniform(0.001, 0.015)), {}) for number in range(TASKS)]
    ids = [desk.app.send_task("torture_tasks.work", args, kwargs).id for args, kwargs in calls]
    end = time.monotonic() + FAULTY_SECONDS
    due = [(time.monotonic() + every * dice.random(), every, fault) for every, fault in faults]
    while time.monotonic() < end:
        due.sort(key=lambda each: each[0])
        at, every, fault = due.pop(0)
        time.sleep(max(0.0, at - time.monotonic()))
        fault()
        due.append((time.monotonic() + every * dice.uniform(0.5, 1.5), every, fault))
    left = _wait_for(desk, ids)
    runs = Counter(desk.lines("runs"))
    print(
        f"\n{TASKS} tasks, {dict(torture.faults)}, {sum(runs.values())} runs,"
        f" {sum(count - 1 for count in runs.values())} of them again, {len(left)} without a result"
    )
    assert left == []
    assert set(runs) == {str(number) for number in range(TASKS)}
    _wait_until_empty(desk)


def _wait_for(desk: Desk, ids: list[str]) -> list[str]:
    """Return the ids that have no final result in time; every result must be the right one."""
    left = list(ids)
    number_of = {task_id: number for number, task_id in enumerate(ids)}
    deadline = time.monotonic() + PATIENCE
    while left and time.monotonic() < deadline:
        with contextlib.suppress(OperationalError):
            found = desk.app.result_backend.fetch(left)
            for task_id, record in found.items():
                if record.final:
                    assert record.state == "SUCCESS", record.document
                    assert json.loads(record.document)["result"] == number_of[task_id]
            left = [each for each in left if each not in found or not found[each].final]
        time.sleep(0.05)
    return left


def _wait_until_empty(desk: Desk) -> None:
    """Nothing is ready, claimed or resting any more."""
    deadline = time.monotonic() + PATIENCE
    while desk.stats() != (0, 0, 0):
        assert time.monotonic() < deadline, desk.stats()
        time.sleep(0.05)


@pytest.mark.slow
def test_sqlite_workers_and_executors_are_killed(torture_of, tmp_path):
    torture = torture_of(f"sqlite:///{tmp_path}/store.sqlite3", 1)
    run(
        torture,
        [
            (0.15, torture.kill_executor),
            (2.0, torture.kill_worker),
            (3.0, torture.end_worker),
        ],
    )
    assert torture.faults["executors killed"] > 10


@pytest.mark.slow
@pytest.mark.redis
def test_redis_is_restarted_and_cut_besides(torture_of):
    server = RedisServer(persistent=True).start()
    try:
        torture = torture_of(server.url(), 2)
        client = redis.Redis(port=server.port)

        def cut() -> None:
            with contextlib.suppress(redis.RedisError):
                client.client_kill_filter(_type="normal", skipme=True)
                torture.faults["connections cut"] += 1

        def restart() -> None:
            server.kill()
            server.start()
            torture.faults["server restarts"] += 1

        run(
            torture,
            [
                (0.15, torture.kill_executor),
                (2.5, torture.kill_worker),
                (4.0, torture.end_worker),
                (0.4, cut),
                (2.5, restart),
            ],
        )
        assert torture.faults["server restarts"] >= 2
        client.close()
        torture.close()
        torture.workers.clear()
    finally:
        server.close()
