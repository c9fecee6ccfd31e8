"""A worker whose parts fail: executors that do not start, a dead template, limits, signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_worker import until
from tests.e2e.worker_desk import PATIENCE, Desk
from tests.libraries import needs_library
from umbel.errors import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from umbel.model.revocation import Revocation

EXTRA = '''
"""What the fault tests need besides: receivers of signals, and tasks that misbehave."""
import os
import signal
import sys
import time
from desk_tasks import HOME, app, note, wait_for
from umbel.app import signals


def told(name, *fields):
    signal = getattr(signals, name)

    @signal.connect(weak=False)
    def receiver(sender=None, **named):
        who = sender if isinstance(sender, str) else getattr(sender, "hostname", sender)
        note("signals", " ".join([name, str(who), *(str(named[each]) for each in fields)]))


for name in ("celeryd_init", "celeryd_after_setup", "worker_init", "worker_ready",
             "worker_shutdown", "worker_before_create_process", "worker_process_init"):
    told(name)
told("worker_shutting_down", "sig", "how", "exitcode")
told("worker_process_shutdown", "exitcode")


@signals.worker_process_init.connect(weak=False)
def start(**_):
    if (HOME / "crash").exists():
        note("crashed")
        os._exit(3)
    while (HOME / "hang").exists():
        note("hung")
        time.sleep(60)


@app.task
def leave_a_child() -> str:
    """Die once, while a child that holds everything open lives on."""
    note("left")
    if len((HOME / "left").read_text().splitlines()) < 2:
        if os.fork() == 0:
            deadline = time.monotonic() + 60
            while not (HOME / "end-child").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    return "again"


@app.task
def measure(text: str) -> str:
    return text


@app.task
def leave(status: int) -> None:
    sys.exit(status)


@app.task
def insist() -> str:
    """Catch the first hard limit; the second ends it."""
    try:
        time.sleep(30)
    except BaseException:
        note("caught")
    time.sleep(30)
    return "never"


@app.task
def endless() -> None:
    """Catch whatever is raised."""
    note("endless")
    while True:
        try:
            time.sleep(30)
        except BaseException:
            note("caught")


@app.task
async def async_soft() -> str:
    import asyncio
    from umbel.errors import SoftTimeLimitExceeded
    try:
        await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "cleaned up"
    return "never"
'''


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []

    def make(**settings: object) -> Desk:
        store = settings.pop("store", f"sqlite:///{tmp_path}/store.sqlite3")
        (tmp_path / "desk_extra.py").write_text(EXTRA, encoding="utf-8")
        opened.append(Desk(tmp_path, str(store), include=("desk_extra",), **settings))
        return opened[-1]

    yield make
    for desk in opened:
        desk.close()


@pytest.fixture
def desk(open_desk) -> Desk:
    return open_desk()


def test_the_signals_of_a_worker_are_fired_in_order_where_user_code_may_run(desk):
    with desk.worker("-c", "1", "-n", "w1@here") as worker:
        for told in ("worker_ready w1@here", "worker_process_init w1@here"):
            until(lambda told=told: told in desk.lines("signals"), told)
        assert worker.end() == 0
    assert desk.lines("signals") == [
        "celeryd_after_setup w1@here",
        "worker_init w1@here",
        "worker_before_create_process w1@here",
        *sorted(["worker_process_init w1@here", "worker_ready w1@here"], key=_as_told(desk)),
        "worker_shutting_down w1@here SIGTERM Warm 0",
        "worker_process_shutdown None 0",
        "worker_shutdown w1@here",
    ]


def _as_told(desk: Desk) -> Callable[[str], int]:
    """The executor and the template speak side by side: either may be first."""
    return desk.lines("signals").index


def test_the_signals_of_a_solo_worker(desk):
    with desk.worker("-P", "solo", "-n", "w1@here") as worker:
        until(lambda: "worker_ready w1@here" in desk.lines("signals"), "worker_ready")
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 1
    assert desk.lines("signals") == [
        "celeryd_after_setup w1@here",
        "worker_init w1@here",
        "worker_process_init w1@here",
        "worker_ready w1@here",
        "worker_shutting_down w1@here SIGQUIT Cold 1",
        "worker_shutdown w1@here",
    ]


def test_executors_that_crash_in_their_start_are_tried_again_later_and_later(desk):
    desk.create("crash")
    with desk.worker("-c", "2") as worker:
        worker.wait_for(r"ended while it started \(status 3\); the next one is started in 0\.4 s")
        crashes = len(desk.lines("crashed"))
        assert crashes <= 8
        (desk.home / "crash").unlink()
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2
        assert worker.end() == 0


def test_an_executor_that_hangs_in_its_start_is_replaced(open_desk):
    desk = open_desk(worker_proc_alive_timeout=0.5)
    desk.create("hang")
    with desk.worker("-c", "1") as worker:
        worker.wait_for(r"did not come up in 0\.5 s \(worker_proc_alive_timeout\)")
        (desk.home / "hang").unlink()
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2
        assert worker.end() == 0


def test_a_worker_that_never_came_up_ends_when_asked(desk):
    desk.create("crash")
    with desk.worker("-c", "1") as worker:
        worker.wait_for("ended while it started")
        assert worker.end() == 0


def test_a_worker_whose_template_dies_returns_its_tasks_and_ends_with_a_failure(desk):
    with desk.worker("-c", "1") as worker:
        desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        os.kill(_parent(int(desk.lines("began-gate")[0])), signal.SIGKILL)
        assert worker.wait() == 1
        assert "the process that imports the app ended unexpectedly" in worker.output
    assert desk.stats() == (1, 0, 0)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_task_is_run_again_though_a_child_holds_its_executors_socket(desk):
    with desk.worker("-c", "1"):
        task = desk.app.send_task("desk_extra.leave_a_child")
        assert task.get(timeout=PATIENCE) == "again"
        desk.create("end-child")


@pytest.mark.parametrize("pool", ["threads", "asyncio", "gevent", "eventlet"])
def test_executors_of_many_slots_retire_and_end(desk, pool):
    needs_library(pool)
    with desk.worker("-P", pool, "-c", "2", "--max-tasks-per-child", "3") as worker:
        pids = [desk.tasks.pid.delay() for _ in range(20)]
        seen = {each.get(timeout=PATIENCE) for each in pids}
        assert len(seen) >= 3
        until(lambda: sum(_lives(pid) for pid in seen) <= 1, "the end of those that retired")
        assert worker.end() == 0


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("pool", ["threads", "asyncio", "gevent", "eventlet"])
def test_the_neighbours_of_an_overdue_task_are_not_charged(open_desk, pool):
    needs_library(pool)
    desk = open_desk(task_max_deliveries=1)
    with desk.worker("-P", pool, "-c", "2"):
        neighbour = desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the neighbour's start")
        overdue = desk.tasks.wait_for.apply_async(("never",), time_limit=0.3)
        with pytest.raises(TimeLimitExceeded):
            overdue.get(timeout=PATIENCE)
        desk.create("gate")
        assert neighbour.get(timeout=PATIENCE) == "gate"
    assert len(desk.lines("began-gate")) == 2
    assert desk.stats() == (0, 0, 0)


@pytest.mark.parametrize("pool", ["threads", "asyncio", "gevent", "eventlet"])
def test_a_task_that_exits_ends_neither_its_slot_nor_its_neighbours(desk, pool):
    needs_library(pool)
    with desk.worker("-P", pool, "-c", "1"):
        for _ in range(2):
            with pytest.raises(BaseException, match="7"):
                desk.app.send_task("desk_extra.leave", (7,)).get(timeout=PATIENCE)
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_a_plain_function_on_the_asyncio_pool_hears_of_its_soft_limit(desk):
    with desk.worker("-P", "asyncio", "-c", "1"):
        result = desk.tasks.catch_soft_limit.apply_async((60,), soft_time_limit=0.2)
        assert result.get(timeout=PATIENCE) == "cleaned up"


def test_a_coroutine_on_one_slot_hears_of_its_soft_limit_where_it_waits(desk):
    with desk.worker("-c", "1"):
        task = desk.app.send_task("desk_extra.async_soft", soft_time_limit=0.2)
        assert task.get(timeout=PATIENCE) == "cleaned up"
        assert desk.tasks.later.delay(0.01).get(timeout=PATIENCE) == "slept 0.01"


def test_solo_keeps_time_limits_inside_the_task(desk):
    with desk.worker("-P", "solo"):
        caught = desk.tasks.catch_soft_limit.apply_async((60,), soft_time_limit=0.2)
        assert caught.get(timeout=PATIENCE) == "cleaned up"
        with pytest.raises(SoftTimeLimitExceeded):
            desk.tasks.wait_for.apply_async(("never",), soft_time_limit=0.2, time_limit=60).get(
                timeout=PATIENCE
            )
        with pytest.raises(TimeLimitExceeded):
            desk.tasks.wait_for.apply_async(("never",), time_limit=0.2).get(timeout=PATIENCE)
        insists = desk.app.send_task("desk_extra.insist", time_limit=0.2)
        with pytest.raises(TimeLimitExceeded):
            insists.get(timeout=PATIENCE)
        assert desk.lines("caught") == [""]
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2


def test_a_revocation_ends_what_runs_and_only_that(desk):
    with desk.worker("-c", "2"):
        doomed, other = desk.tasks.wait_for.delay("never"), desk.tasks.wait_for.delay("gate")
        for name in ("never", "gate"):
            until(lambda name=name: bool(desk.lines(f"began-{name}")), f"the start of {name}")
        desk.app.broker.revoke([Revocation(task_id=doomed.id, terminate=True)], keep=60.0)
        until(lambda: doomed.state == "REVOKED", "the end of the revoked one")
        desk.create("gate")
        assert other.get(timeout=PATIENCE) == "gate"
    assert len(desk.lines("began-gate")) == 1


def test_values_of_ten_megabytes_go_through(desk):
    with desk.worker("-c", "1"):
        text = "x" * 10_000_000
        result = desk.app.send_task("desk_extra.measure", (text,))
        assert result.get(timeout=PATIENCE) == text


def test_an_early_task_whose_process_dies_is_told_as_lost_and_never_runs_again(open_desk):
    desk = open_desk(task_acks_late=False)
    with desk.worker("-c", "1"):
        with pytest.raises(WorkerLostError):
            desk.tasks.die_once.delay().get(timeout=PATIENCE)
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2
    assert desk.lines("died-once") == [""]
    assert desk.stats() == (0, 0, 0)


def test_early_tasks_at_a_warm_shutdown_run_to_their_end(desk):
    with desk.worker("-c", "1") as worker:
        result = desk.tasks.wait_for_early.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        assert desk.stats() == (0, 0, 0)
        worker.signal(signal.SIGTERM)
        worker.wait_for("Warm shutdown")
        desk.create("gate")
        assert worker.wait() == 0
    assert result.get(timeout=PATIENCE) == "gate"


def test_an_early_task_cut_by_a_cold_shutdown_is_told_as_lost(desk):
    with desk.worker("-c", "1") as worker:
        result = desk.tasks.wait_for_early.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 1
    with pytest.raises(WorkerLostError):
        result.get(timeout=PATIENCE)
    assert desk.stats() == (0, 0, 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 1)])
def test_a_worker_asked_to_stop_while_it_imports_the_app_just_ends(desk, number, code, tmp_path):
    slow = "import time, pathlib\npathlib.Path('importing').touch()\ntime.sleep(60)\n"
    (tmp_path / "slow_app.py").write_text(slow)
    pidfile = tmp_path / "worker.pid"
    words = ("-A", "slow_app", "--pidfile", str(pidfile))
    with desk.worker(*words, ready=False) as worker:
        until((tmp_path / "importing").exists, "the import")
        worker.signal(number)
        assert worker.wait() == code
        assert "Traceback" not in worker.output
    assert not pidfile.exists()


def test_control_c_on_a_terminal_reaches_every_process_and_ends_warmly(desk):
    with desk.worker("-c", "2", group=True) as worker:
        result = desk.tasks.wait_for.delay("gate")
        until(lambda: bool(desk.lines("began-gate")), "the start")
        os.killpg(worker.pid, signal.SIGINT)
        worker.wait_for("Warm shutdown")
        desk.create("gate")
        assert worker.wait() == 0
    assert result.get(timeout=PATIENCE) == "gate"


def test_control_c_twice_is_cold_and_three_times_is_at_once(desk):
    with desk.worker("-P", "solo", group=True) as worker:
        desk.app.send_task("desk_extra.endless")
        until(lambda: bool(desk.lines("endless")), "the start")
        for says in ("Warm shutdown", "Cold shutdown", "Asked a third time"):
            os.killpg(worker.pid, signal.SIGINT)
            worker.wait_for(says)
        assert worker.wait() == 1
