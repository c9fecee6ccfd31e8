"""Workflows in real workers: every step in another process, members that are killed, two stores."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import needed
from tests.e2e.processes import RedisServer
from tests.e2e.worker_desk import PATIENCE, Desk
from umbel.errors import ChordError
from umbel.workflows.canvas import chain, chord, group


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []

    def make(**settings: object) -> Desk:
        store = settings.pop("store", f"sqlite:///{tmp_path}/store.sqlite3")
        opened.append(Desk(tmp_path, str(store), **settings))
        return opened[-1]

    yield make
    for desk in opened:
        desk.close()


@pytest.fixture
def desk(open_desk) -> Desk:
    return open_desk()


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something another process does and tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE} s"
        time.sleep(0.005)


def whole(desk: Desk):
    """A chain into a chord of chains and a chord, into a chain."""
    add, many = desk.tasks.add, desk.tasks.total
    inner = chord([add.si(10, 1), add.si(20, 1)], many.s())
    return chain(add.s(1, 1), group(add.s(1), add.s(2) | add.s(3), inner), many.s(), add.s(100))


def test_a_workflow_of_every_kind(desk):
    with desk.worker("-c", "2"):
        assert whole(desk).delay().get(timeout=PATIENCE) == 3 + 7 + 32 + 100


@pytest.mark.redis
def test_results_in_another_store_count_all_the_same(open_desk):
    if shutil.which("redis-server") is None:
        needed("redis-server")
    with RedisServer() as server:
        desk = open_desk(backend=server.url(0))
        with desk.worker("-c", "2"):
            assert whole(desk).delay().get(timeout=PATIENCE) == 142


def test_a_member_whose_process_dies_ends_its_chord(open_desk):
    desk = open_desk(task_reject_on_worker_lost=False)
    body = desk.tasks.total.s().on_error(desk.tasks.note_failure.s())
    with desk.worker("-c", "2"):
        result = chord([desk.tasks.die.si(signal.SIGKILL), desk.tasks.add.si(1, 1)], body).delay()
        with pytest.raises(ChordError, match="raised WorkerLostError"):
            result.get(timeout=PATIENCE, follow_parents=False)
        desk.tasks.add.delay(1, 1).get(timeout=PATIENCE)
    assert desk.lines("failure") == ["ChordError"]


def test_a_killed_worker_loses_no_step(open_desk):
    """Killed while a header runs: another worker ends it, and the body runs once."""
    desk = open_desk(worker_lease=2.0, worker_lease_renewal=0.5)
    header = [desk.tasks.add.si(number, 1) for number in range(5)]
    header.append(desk.tasks.wait_for.si("gate"))
    result = chord(header, desk.tasks.count_values.s()).delay()
    with desk.worker("-c", "2") as first:
        until(lambda: bool(desk.lines("began-gate")), "the last member")
        os.kill(first.pid, signal.SIGKILL)
    desk.create("gate")
    with desk.worker("-c", "2"):
        assert result.get(timeout=PATIENCE) == 6
    assert desk.lines("body") == ["6"]


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_member_that_never_begins_ends_its_chord(open_desk, serializer):
    """Revoked, expired, or cancelled while it rested: pickled or not, nobody is left waiting."""
    desk = open_desk(task_serializer=serializer, accept_content=["json", "pickle"])
    add = desk.tasks.add
    body = desk.tasks.total.s().on_error(desk.tasks.note_failure.s())
    members = {
        "revoked": add.si(1, 1),
        "expired": add.si(1, 1).set(expires=0.01),
        "cancelled": add.si(1, 1).set(countdown=3600),
        "cancelled before it": chain(add.si(1, 1).set(countdown=3600), add.si(1, 1)),
    }
    results = {how: chord([one, add.si(1, 1)], body).delay() for how, one in members.items()}
    results["revoked"].parent[0].revoke()
    assert desk.app.delayed.cancel(everything=True) == 2
    with desk.worker("-c", "1") as worker:
        for result in results.values():
            with pytest.raises(ChordError, match="raised TaskRevokedError"):
                result.get(timeout=PATIENCE, follow_parents=False)
        until(lambda: len(desk.lines("failure")) == 4, "the error callbacks of the bodies")
        add.delay(1, 1).get(timeout=PATIENCE)
        assert worker.end() == 0
    assert desk.lines("failure") == ["ChordError"] * 4
    assert desk.stats() == (0, 0, 0)


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_error_callbacks_hear_that_nobody_knows_the_task(open_desk, serializer):
    desk = open_desk(
        task_serializer=serializer, accept_content=["json", "pickle"], profile="celery"
    )
    desk.app.send_task("nobody.knows", link_error=desk.tasks.note_failure.s())
    with desk.worker("-c", "1") as worker:
        until(lambda: bool(desk.lines("failure")), "the error callback")
        desk.tasks.add.delay(1, 1).get(timeout=PATIENCE)
        assert worker.end() == 0
    assert desk.lines("failure") == ["NotRegistered"]
