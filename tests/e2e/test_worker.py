"""The worker as a process: every pool, every way to end, and what dies on the way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.worker_desk import PATIENCE, Desk
from tests.libraries import needs_library
from umbel.errors import (
    NotRegistered,
    Reject,
    SoftTimeLimitExceeded,
    TaskError,
    TimeLimitExceeded,
    WorkerLostError,
)

POOLS = ["prefork", "threads", "asyncio", "gevent", "eventlet", "solo"]
MANY_SLOTS = ["threads", "asyncio", "gevent", "eventlet"]


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


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_runs_every_kind_of_task(desk, pool):
    needs_library(pool)
    with desk.worker("-P", pool, "-c", "2") as worker:
        plain, coroutine = desk.tasks.add.delay(4, 5), desk.tasks.later.delay(0.01)
        failing, retrying = desk.tasks.fail.delay("no"), desk.tasks.retry_twice.delay()
        assert plain.get(timeout=PATIENCE) == 9
        assert coroutine.get(timeout=PATIENCE) == "slept 0.01"
        with pytest.raises(ValueError, match="no"):
            failing.get(timeout=PATIENCE)
        assert retrying.get(timeout=PATIENCE) == 2
        assert worker.end() == 0
        for words in (
            "received",
            r"succeeded in \S+s: 9",
            r"raised unexpected: ValueError\('no'\)",
        ):
            worker.wait_for(words)


def test_the_banner_says_what_the_worker_is(desk):
    with desk.worker("-c", "3", "-Q", "mail,video", "-n", "w1@%h") as worker:
        banner = worker.output
        assert "w1@" in banner
        assert "sqlite:///" in banner
        assert "concurrency: 3 (prefork)" in banner
        assert "mail" in banner
        assert "video" in banner
        assert "desk_tasks.add" in banner
        assert "at least once" in banner


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_a_warm_shutdown_finishes_what_runs_and_returns_the_rest(desk, pool):
    with desk.worker("-P", pool, "-c", "1") as worker:
        running = desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the first task's start")
        for number in range(5):
            desk.tasks.greet.delay(str(number))
        worker.signal(signal.SIGTERM)
        worker.wait_for("Warm shutdown")
        desk.create("gate")
        assert worker.wait() == 0
    assert running.get(timeout=PATIENCE) == "gate"
    assert desk.lines("greeted") == []
    assert desk.stats() == (5, 0, 0)


@pytest.mark.parametrize("ask", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGQUIT]])
def test_a_cold_shutdown_returns_what_runs_to_the_queue(desk, ask):
    with desk.worker("-c", "2") as worker:
        for name in ("one", "two"):
            desk.tasks.wait_for.delay(name)
            until(lambda name=name: bool(desk.lines(f"began-{name}")), f"the start of {name}")
        for number in ask:
            worker.signal(number)
            worker.wait_for("shutdown")
        assert worker.wait() == 1
    assert desk.stats() == (2, 0, 0)
    with desk.worker("-c", "2"):
        desk.create("one")
        desk.create("two")
        until(lambda: bool(desk.lines("ended-one") and desk.lines("ended-two")), "the second run")


def test_a_warm_shutdown_turns_cold_when_its_time_is_over(open_desk):
    desk = open_desk(worker_shutdown_timeout=0.2)
    with desk.worker("-c", "1") as worker:
        desk.tasks.wait_for.delay("never")
        until(lambda: bool(desk.lines("began-never")), "the start")
        worker.signal(signal.SIGTERM)
        worker.wait_for("Cold shutdown")
        assert worker.wait() == 1
    assert desk.stats() == (1, 0, 0)


def test_a_task_whose_process_is_killed_runs_again(desk):
    with desk.worker("-c", "1") as worker:
        result = desk.tasks.die_once.delay()
        assert result.get(timeout=PATIENCE) == "alive"
        worker.wait_for("killed by signal 9")
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_a_task_that_kills_every_process_ends_in_quarantine_and_the_worker_goes_on(open_desk):
    desk = open_desk(task_max_deliveries=2)
    with desk.worker("-c", "1"):
        result = desk.tasks.die.delay(signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="2 deliveries"):
            result.get(timeout=PATIENCE)
        assert len(desk.lines("died")) == 2
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_what_a_killed_worker_held_is_rescued_by_another(open_desk):
    desk = open_desk(worker_lease=0.6, worker_lease_renewal=0.2)
    with desk.worker("-c", "1") as first:
        result = desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        executor = int(desk.lines("began-gate")[0])
        first.signal(signal.SIGKILL)
        first.wait()
        until(lambda: not _alive(executor), "the end of the orphaned executor")
    desk.create("gate")
    with desk.worker("-c", "1"):
        assert result.get(timeout=PATIENCE) == "gate"
    assert len(desk.lines("began-gate")) == 2
    assert len(desk.lines("ended-gate")) == 1


def test_a_frozen_worker_is_told_that_its_claims_are_gone(open_desk):
    desk = open_desk(worker_lease=0.6, worker_lease_renewal=0.2)
    with desk.worker("-c", "1", "-n", "frozen@%h") as zombie:
        result = desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        zombie.signal(signal.SIGSTOP)
        with desk.worker("-c", "1", "-n", "healthy@%h"):
            until(lambda: len(desk.lines("began-gate")) == 2, "the rescue")
            zombie.signal(signal.SIGCONT)
            zombie.wait_for("its lease ran out")
            desk.create("gate")
            assert result.get(timeout=PATIENCE) == "gate"
    assert desk.stats() == (0, 0, 0)


def test_processes_are_replaced_after_so_many_tasks(desk):
    with desk.worker("-c", "1", "--max-tasks-per-child", "3"):
        pids = [desk.tasks.pid.delay() for _ in range(9)]
        seen = [each.get(timeout=PATIENCE) for each in pids]
    assert all(seen.count(each) <= 3 for each in seen)
    assert len(set(seen)) >= 3


def test_processes_are_replaced_when_they_use_too_much_memory(desk):
    with desk.worker("-c", "1", "--max-memory-per-child", "1"):
        pids = [desk.tasks.pid.delay().get(timeout=PATIENCE) for _ in range(3)]
    assert len(set(pids)) == 3


@pytest.mark.parametrize("pool", ["prefork", "asyncio", "gevent", "eventlet"])
def test_a_soft_time_limit_is_raised_inside_the_task(desk, pool):
    needs_library(pool)
    with desk.worker("-P", pool, "-c", "1"):
        task = desk.tasks.later if pool == "asyncio" else desk.tasks.catch_soft_limit
        result = task.apply_async((60,), soft_time_limit=0.2)
        if pool == "asyncio":
            with pytest.raises(SoftTimeLimitExceeded):
                result.get(timeout=PATIENCE)
        else:
            assert result.get(timeout=PATIENCE) == "cleaned up"


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "gevent", "eventlet"])
def test_a_hard_time_limit_ends_the_task_for_certain(desk, pool):
    needs_library(pool)
    with desk.worker("-P", pool, "-c", "1") as worker:
        result = desk.tasks.wait_for.apply_async(("never",), time_limit=0.3)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=PATIENCE)
        worker.wait_for("Hard time limit")
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_short_tasks_are_not_stuck_behind_a_long_one(desk):
    with desk.worker("-c", "2"):
        # Short ones first, so that the worker sends work ahead.
        for result in [desk.tasks.add.delay(n, n) for n in range(50)]:
            result.get(timeout=PATIENCE)
        desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the long one's start")
        assert [desk.tasks.add.delay(n, 0).get(timeout=PATIENCE) for n in range(50)] == [*range(50)]
        assert not desk.lines("ended-gate")
        desk.create("gate")


def test_results_are_not_held_back_by_a_long_task_behind_them(desk):
    with desk.worker("-c", "1"):
        quick = desk.tasks.quick_unless
        quick.send_many([("",)] * 100).get(timeout=PATIENCE)  # known to be short from now on
        sent = quick.send_many([*[("",)] * 100, ("gate",), ("",)]).results
        until(lambda: bool(desk.lines("began-gate")), "the long one's start")
        began = time.monotonic()
        assert [each.get(timeout=PATIENCE) for each in sent[:100]] == [""] * 100
        # Looked at after RECALL_AFTER, 0.1 s; generous for a machine that does other things too.
        assert time.monotonic() - began < 3.0
        assert not desk.lines("ended-gate")
        desk.create("gate")
        assert sent[-1].get(timeout=PATIENCE) == ""


def test_results_are_not_lost_by_the_death_of_the_task_behind_them(desk):
    with desk.worker("-c", "1"):
        quick = desk.tasks.quick_unless
        quick.send_many([("",)] * 100).get(timeout=PATIENCE)
        sent = quick.send_many([*[("",)] * 100, ("die",), ("",)]).results
        # Acknowledged early: whatever had run and was not told would be a failure now.
        assert [each.get(timeout=PATIENCE) for each in sent[:100]] == [""] * 100
        with pytest.raises(WorkerLostError):
            sent[100].get(timeout=PATIENCE)
        assert sent[-1].get(timeout=PATIENCE) == ""


def test_tasks_sent_by_name_and_unknown_tasks(desk):
    with desk.worker("-c", "1") as worker:
        unknown = desk.app.send_task("desk_tasks.of_tomorrow")
        worker.wait_for("no task named 'desk_tasks.of_tomorrow' is registered here")
        assert desk.app.send_task("desk_tasks.add", (2, 3)).get(timeout=PATIENCE) == 5
        assert unknown.state == "PENDING"


def test_an_unserialisable_result_fails_the_task_and_says_why(desk):
    with desk.worker("-c", "1"):
        with pytest.raises(Exception, match="object"):
            desk.tasks.unserialisable.delay().get(timeout=PATIENCE)
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_a_rejected_task_is_set_aside_and_told_as_failed(desk):
    with desk.worker("-c", "1"), pytest.raises(Reject):
        desk.tasks.reject.delay().get(timeout=PATIENCE)


def test_wrong_arguments_that_slipped_past_the_client_fail_the_task(desk):
    with desk.worker("-c", "1"):
        with pytest.raises(TypeError):
            desk.app.send_task("desk_tasks.add", (1, 2, 3)).get(timeout=PATIENCE)
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_the_pid_file_is_there_while_the_worker_is(desk, tmp_path):
    path = tmp_path / "worker.pid"
    with desk.worker("--pidfile", str(path)) as worker:
        assert int(path.read_text()) == worker.pid
        with desk.worker("--pidfile", str(path), ready=False) as second:
            assert second.wait() == 1
            assert "is alive" in second.output
        assert worker.end() == 0
    assert not path.exists()


def test_log_lines_go_to_the_log_file(desk, tmp_path):
    with desk.worker("-f", str(tmp_path / "%n.log"), ready=False) as worker:
        assert desk.tasks.add.delay(4, 5).get(timeout=PATIENCE) == 9
        assert worker.end() == 0
    assert "succeeded in" in (tmp_path / "celery.log").read_text()


def test_purge_empties_the_queues_first(desk):
    desk.tasks.greet.delay("old")
    with desk.worker("--purge") as worker:
        worker.wait_for("Purged 1 messages")
        desk.tasks.greet.delay("new")
        until(lambda: bool(desk.lines("greeted")), "the new task")
    assert desk.lines("greeted") == ["new"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_this_name\n", "nothing_of_this_name"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def app(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "exit(3)"),
        ("x = 1\n", "no app"),
        ("from umbel import Umbel\napp = Umbel('x', broker='nosuch://x')\n", "nosuch"),
        ("from umbel import Umbel\napp = Umbel('x', task_serialiser='json')\n", "task_serializer"),
        ("from umbel import Umbel\napp = Umbel('x', broker='memory://')\n", "memory://"),
    ],
)
def test_an_app_that_cannot_start_is_told_in_words_and_ends_with_a_failure(desk, text, says):
    (desk.home / "desk_tasks.py").write_text(text)
    with desk.worker(ready=False) as worker:
        assert worker.wait() != 0
        assert says in worker.output


def test_an_unknown_pool_is_told_with_those_there_are(desk):
    with desk.worker("-P", "preforc", ready=False) as worker:
        assert worker.wait() == 2
        assert "prefork" in worker.output


def test_a_lost_result_class_is_rebuilt_under_its_name(desk):
    assert issubclass(TaskError, Exception)
    assert issubclass(NotRegistered, KeyError)
    with desk.worker("-c", "1"), pytest.raises(ValueError, match="text of the failure"):
        desk.tasks.fail.delay("text of the failure").get(timeout=PATIENCE)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform.startswith("linux"):
        try:
            return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
        except OSError:
            return False
    return True
