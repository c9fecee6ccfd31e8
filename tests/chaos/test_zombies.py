"""Workers that freeze and wake, run long, and are deployed: whose a task is, and what counts.

On both stores that several processes share, with real processes and signals.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Program
from tests.e2e.test_worker import until
from tests.e2e.worker_desk import PATIENCE, Desk
from tests.redis_server import RedisServer
from umbel.model.queues import Queue
from umbel.testing.conformance.station import presence

LEASE = 0.8
QUICK = {"worker_lease": LEASE, "worker_lease_renewal": 0.2}

EXTRA = '''
"""A task that ends when the test lets this very process end it, and what follows it."""
import os
import time
from desk_tasks import HOME, app, note


@app.task
def hold() -> int:
    note("held", os.getpid())
    while not (HOME / f"go-{os.getpid()}").exists():
        time.sleep(0.005)
    note("returned", os.getpid())
    return os.getpid()


@app.task
def follow(pid: int) -> None:
    note("followed", pid)
'''


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    made = RedisServer().start()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def open_desk(request, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []
    if request.param == "redis":
        store = request.getfixturevalue("server").url(len(request.node.name) % 16)
    else:
        store = f"sqlite:///{tmp_path}/store.sqlite3"

    def make(**settings: object) -> Desk:
        (tmp_path / "zombie_tasks.py").write_text(EXTRA, encoding="utf-8")
        opened.append(Desk(tmp_path, store, include=("zombie_tasks",), **settings))
        opened[-1].app.broker.purge("celery")
        return opened[-1]

    yield make
    for desk in opened:
        desk.close()


def begun(desk: Desk, count: int) -> list[int]:
    """Return the processes in which the task was begun, once there are so many."""
    until(lambda: len(desk.lines("held")) == count, f"run {count} of the task")
    return [int(pid) for pid in desk.lines("held")]


def send(desk: Desk):
    desk.app.finalize()
    follow = desk.app.signature("zombie_tasks.follow")
    return desk.app.send_task("zombie_tasks.hold", link=follow)


def family(pid: int) -> list[int]:
    """A process and all that came of it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += family(int(child))
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def lease_passes(desk: Desk, name: str, leases: float) -> None:
    """Wait until this worker has renewed its lease over so many of them."""

    def seen() -> float:
        return next((p.seen for p in desk.app.broker.presences() if p.name == name), 0.0)

    until(lambda: seen() > 0, "the first renewal")
    first = seen()
    until(lambda: seen() - first > leases * LEASE, f"{leases} leases")


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["worker", "supervisor"])
def test_what_a_zombie_brings_is_refused_and_it_says_so(open_desk, frozen):
    desk = open_desk(**QUICK)
    with desk.worker("-c", "1", "-n", "zombie@here") as zombie:
        result = send(desk)
        (old,) = begun(desk, 1)
        pids = family(zombie.pid) if frozen == "worker" else [zombie.pid]
        signal_all(pids, signal.SIGSTOP)
        with desk.worker("-c", "1", "-n", "healthy@here"):
            _, new = begun(desk, 2)
            desk.create(f"go-{new}")
            assert result.get(timeout=PATIENCE) == new
            until(lambda: desk.lines("followed") == [str(new)], "the follow-up")
            desk.create(f"go-{old}")
            signal_all(pids, signal.SIGCONT)
            until(lambda: len(desk.lines("returned")) == 2, "the end of the zombie's run")
            zombie.wait_for(r"its lease ran out|its lease had run out")
            # It works on, and what it brings from now on counts.
            again = send(desk)
            *_, pid = begun(desk, 3)
            desk.create(f"go-{pid}")
            assert again.get(timeout=PATIENCE) == pid
            until(lambda: len(desk.lines("followed")) == 2, "the second follow-up")
    assert result.get(timeout=PATIENCE) == new
    assert desk.lines("followed") == [str(new), str(pid)]
    assert desk.stats() == (0, 0, 0)


@pytest.mark.slow
def test_a_frozen_executor_keeps_its_task_and_so_does_a_long_one(open_desk):
    desk = open_desk(**QUICK)
    with desk.worker("-c", "1", "-n", "first@here"):
        result = send(desk)
        (pid,) = begun(desk, 1)
        with desk.worker("-c", "1", "-n", "second@here"):
            lease_passes(desk, "first@here", 2.2)  # it just runs long, with no setting for it
            os.kill(pid, signal.SIGSTOP)
            lease_passes(desk, "first@here", 1.2)
            os.kill(pid, signal.SIGCONT)
            desk.create(f"go-{pid}")
            assert result.get(timeout=PATIENCE) == pid
            until(lambda: bool(desk.lines("followed")), "the follow-up")
    assert begun(desk, 1) == [pid]
    assert desk.lines("followed") == [str(pid)]
    assert desk.stats() == (0, 0, 0)


def ended_by_term(worker: Program) -> None:
    """SIGTERM; the time for what runs is over before it ends."""
    worker.signal(signal.SIGTERM)
    worker.wait_for("Cold shutdown")


def ended_by_quit(worker: Program) -> None:
    worker.signal(signal.SIGQUIT)


def ended_by_two(worker: Program) -> None:
    worker.signal(signal.SIGTERM)
    worker.wait_for("Warm shutdown")
    worker.signal(signal.SIGTERM)


@pytest.mark.slow
def test_deploys_burn_no_attempt(open_desk):
    """More of them than a task may be delivered, each while it runs."""
    desk = open_desk(worker_shutdown_timeout=0.2, task_max_deliveries=2)
    send(desk)
    for number, end in enumerate([ended_by_term, ended_by_quit, ended_by_two], 1):
        with desk.worker("-c", "1") as worker:
            begun(desk, number)
            end(worker)
            assert worker.wait() == 1
        assert desk.stats() == (1, 0, 0)
    consumer = desk.app.broker.open_consumer([Queue("celery")], presence=presence(), lease=30)
    (delivery,) = consumer.exchange([], 1).deliveries
    consumer.close()
    assert (delivery.count, delivery.redelivered) == (1, False)
