"""Tasks that are stopped, and workers that stop: the same on every pool."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_worker import POOLS, until
from tests.e2e.worker_desk import PATIENCE, Desk
from tests.libraries import needs_library
from umbel.errors import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded

EXTRA = '''
"""Tasks that look whether they should stop."""
import time
from umbel import current_task
from umbel.app import signals
from umbel.errors import Ignore
from desk_tasks import HOME, app, note


@signals.task_received.connect
def received(sender, request, **_):
    note("received", request.id)


@signals.task_revoked.connect
def revoked(sender, request, terminated, signum, expired, **_):
    name = getattr(sender, "name", sender)
    note("revoked", f"{request.id} {name} {terminated} {signum} {expired}")


@signals.task_unknown.connect
def unknown(sender, message, exc, name, id, **_):
    assert message.headers["id"] == id
    note("unknown", f"{id} {name} {type(exc).__name__} {sender.hostname.partition('@')[0]}")


@signals.task_rejected.connect
def rejected(sender, message, exc, **_):
    note("rejected", f"{message.headers['id']} {type(exc).__name__}")


@app.task(bind=True)
def watch(self, name: str) -> str:
    note(f"began-{name}")
    while not self.cancelled():
        time.sleep(0.005)
    raise Ignore(note(f"cancelled-{name}", self.request.cancelled))


@app.task
def finish_early(name: str) -> str:
    note(f"began-{name}")
    while not current_task.shutdown_requested:
        time.sleep(0.005)
    return "what was done by then"
'''


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []

    def make(**settings: object) -> Desk:
        (tmp_path / "desk_extra.py").write_text(EXTRA, encoding="utf-8")
        store = f"sqlite:///{tmp_path}/store.sqlite3"
        opened.append(Desk(tmp_path, store, include=("desk_extra",), **settings))
        return opened[-1]

    yield make
    for desk in opened:
        desk.close()


def began(desk: Desk, name: str) -> None:
    until(lambda: bool(desk.lines(f"began-{name}")), f"the start of {name}")


@pytest.mark.parametrize("pool", POOLS)
def test_every_way_to_stop_a_task(open_desk, pool):
    needs_library(pool)
    desk = open_desk()
    tasks, send = desk.tasks, desk.app.send_task
    before = tasks.greet.apply_async(("nobody",), countdown=0.1)
    before.revoke()  # with no worker there
    with desk.worker("-P", pool, "-c", "1"):
        with pytest.raises(TaskRevokedError, match="revoked"):
            before.get(timeout=PATIENCE)

        with pytest.raises(SoftTimeLimitExceeded):
            tasks.wait_for.apply_async(("a",), soft_time_limit=0.1).get(timeout=PATIENCE)
        with pytest.raises(TimeLimitExceeded):
            tasks.wait_for.apply_async(("b",), time_limit=0.1).get(timeout=PATIENCE)

        for name, how in (("c", "SIGTERM"), ("d", "SIGKILL"), ("e", "SIGINT")):
            running = tasks.wait_for.delay(name)
            began(desk, name)
            running.revoke(terminate=True, signal=how)
            with pytest.raises(TaskRevokedError, match="terminated"):
                running.get(timeout=PATIENCE)

        looking = send("desk_extra.watch", ("f",))
        began(desk, "f")
        behind = tasks.greet.delay("nobody")
        behind.revoke()
        looking.revoke()
        for each in (looking, behind):
            with pytest.raises(TaskRevokedError, match="revoked"):
                each.get(timeout=PATIENCE)
        assert desk.lines("cancelled-f") == ["revoked"]

        assert tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2
    assert desk.lines("greeted") == []
    assert desk.stats() == (0, 0, 0)


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_hears_that_its_worker_ends(open_desk, pool):
    needs_library(pool)
    desk = open_desk()
    with desk.worker("-P", pool, "-c", "1") as worker:
        running = desk.app.send_task("desk_extra.finish_early", ("a",))
        began(desk, "a")
        for number in range(3):
            desk.tasks.greet.delay(str(number))
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert running.get(timeout=PATIENCE) == "what was done by then"
    assert desk.lines("greeted") == []
    assert desk.stats() == (3, 0, 0)


@pytest.mark.parametrize("pool", POOLS)
def test_what_runs_when_the_time_is_over_goes_back_at_once_and_uncounted(open_desk, pool):
    needs_library(pool)
    desk = open_desk(task_max_deliveries=1)
    with desk.worker("-P", pool, "-c", "1", "--shutdown-timeout", "0.1") as worker:
        running = desk.tasks.wait_for.delay("gate")
        began(desk, "gate")
        worker.signal(signal.SIGTERM)
        worker.wait_for("Cold shutdown")
        assert worker.wait() == 1
    assert desk.stats() == (1, 0, 0)
    desk.create("gate")
    with desk.worker("-P", pool, "-c", "1"):
        assert running.get(timeout=PATIENCE) == "gate"  # a second delivery would be too many
    assert len(desk.lines("began-gate")) == 2


def test_solo_ends_with_a_task_that_cannot_be_ended(open_desk):
    desk = open_desk()
    (desk.home / "desk_extra.py").write_text(
        EXTRA
        + """

@app.task
def endless(name: str) -> None:
    note(f"began-{name}")
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
""",
        encoding="utf-8",
    )
    with desk.worker("-P", "solo", "--shutdown-timeout", "0.1") as worker:
        desk.app.send_task("desk_extra.endless", ("a",))
        began(desk, "a")
        worker.signal(signal.SIGTERM)
        worker.wait_for("the process ends with it")
        assert worker.wait() == 1
    assert desk.stats() == (1, 0, 0)


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_signals_tell_what_does_not_run_and_what_was_ended(open_desk, pool):
    desk = open_desk(profile="celery", worker_concurrency=1)
    add, wait_for = desk.tasks.add, desk.tasks.wait_for
    gone, late = add.delay(1, 1), add.apply_async((1, 1), expires=0.01)
    gone.revoke()
    nobody = desk.app.send_task("nobody.knows")
    garbled = add.apply_async((1, 1), serializer="pickle")
    with desk.worker("-P", pool, "-c", "1") as worker:
        ended = wait_for.delay("never")
        began(desk, "never")
        ended.revoke(terminate=True, signal="SIGINT")
        until(lambda: len(desk.lines("revoked")) == 3, "the signals of three revoked tasks")
        until(lambda: bool(desk.lines("unknown") and desk.lines("rejected")), "the others")
        assert worker.end() == 0
    assert sorted(desk.lines("revoked")) == sorted(
        [
            f"{gone.id} desk_tasks.add False None False",
            f"{late.id} desk_tasks.add False None True",
            f"{ended.id} desk_tasks.wait_for True {int(signal.SIGINT)} False",
        ]
    )
    assert desk.lines("unknown") == [f"{nobody.id} nobody.knows NotRegistered celery"]
    assert desk.lines("rejected") == [f"{garbled.id} ContentDisallowed"]
    assert desk.lines("received") == [ended.id]
