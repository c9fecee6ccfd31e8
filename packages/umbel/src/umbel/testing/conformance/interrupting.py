"""What every Pool must do to stop one task: the part of ``PoolSuite`` about ``interrupt``.

One contract for all kinds of executors. Where they differ a test says so by ``bench.in_order`` (one
slot a process: signals are signals), ``bench.attend`` (no process at all) and ``bench.slots``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from umbel.model.assignment import Interrupt, Lost, PoolEvent, Report, Returned
from umbel.testing.conformance.pool_bench import PATIENCE, PoolBench


def told(event: PoolEvent) -> Any:
    """Return what a task returned."""
    assert isinstance(event, Report)
    document = json.loads(event.records[0].document)
    assert document["status"] == "SUCCESS", document
    return document["result"]


class InterruptionSuite:
    """Soft, hard, terminate, revoke and shutdown, and what a task sees of each."""

    # --- raised inside the task -------------------------------------------------------------------

    def test_a_soft_limit_is_raised_inside_the_task(self, bench: PoolBench) -> None:
        end = bench.interrupted("wait_for", Interrupt.SOFT, "1 s")
        assert isinstance(end, Report)
        assert end.state == "FAILURE"
        assert b"SoftTimeLimitExceeded" in end.records[0].document
        for task in ("tidy", "watch", "tidy_async"):
            end = bench.interrupted(task, Interrupt.SOFT, "1 s")
            assert told(end) in ("SoftTimeLimitExceeded", "soft time limit")
        bench.until_ended(bench.run("echo", 1))
        bench.settle_down()

    def test_terminate_ends_a_task(self, bench: PoolBench) -> None:
        alone = bench.in_order and bench.attend is None
        statuses = {"SIGTERM": -signal.SIGTERM, "SIGQUIT": -signal.SIGQUIT, "SIGINT": 1}
        for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGQUIT"):
            end = bench.interrupted("wait_for", Interrupt.TERMINATE, name)
            if alone and name in statuses:
                assert isinstance(end, Lost)
                assert (end.status, end.innocent) == (statuses[name], False)
            else:
                assert isinstance(end, Report)
                assert end.state == "FAILURE"
        bench.until_ended(bench.run("echo", 1))
        bench.settle_down()

    def test_terminate_lets_a_task_clean_up(self, bench: PoolBench) -> None:
        if bench.in_order and bench.attend is None:
            end = bench.interrupted("tidy", Interrupt.TERMINATE, "SIGINT")
            assert told(end) == "KeyboardInterrupt"
        else:
            for task in ("tidy", "tidy_async"):
                end = bench.interrupted(task, Interrupt.TERMINATE, "SIGTERM")
                assert told(end) == "Terminated"
        assert told(bench.interrupted("tidy", Interrupt.TERMINATE, "SIGUSR1")) == (
            "SoftTimeLimitExceeded"
        )
        bench.until_ended(bench.run("echo", 1))

    def test_terminate_calls_the_handler_that_a_task_has_installed(self, bench: PoolBench) -> None:
        if not bench.in_order or bench.attend is not None:
            pytest.skip("no process is its own")
        for _ in range(2):
            end = bench.interrupted("heed_sigterm", Interrupt.TERMINATE, "SIGTERM")
            assert told(end) == "heeded"

    # --- by force ---------------------------------------------------------------------------------

    def test_a_hard_interrupt_ends_the_task_and_the_pool_goes_on(self, bench: PoolBench) -> None:
        # What catches everything ends only with its process, and solo has no other.
        insistent = ["insist"] if bench.attend is None else []
        for task in ["wait_for", "tidy_async", *insistent]:
            end = bench.interrupted(task, Interrupt.HARD, "time limit")
            assert isinstance(end, Lost)
            assert not end.innocent
        bench.until_ended(bench.run("echo", 1))
        bench.settle_down()

    def test_a_hard_interrupt_ends_what_the_task_had_started(self, bench: PoolBench) -> None:
        if bench.pids is None:
            pytest.skip("it has no processes")
        bench.interrupted("have_child", Interrupt.HARD, "time limit")
        (told_pid,) = bench.home.glob("run-*.child")
        pid = int(told_pid.read_text())
        deadline = time.monotonic() + PATIENCE
        while _alive(pid):
            assert time.monotonic() < deadline, "the child of the task is still there"
            time.sleep(0.01)

    def test_an_interrupt_of_what_is_not_here_does_nothing(self, bench: PoolBench) -> None:
        assert not bench.pool.interrupt(424242, Interrupt.HARD, "nothing")
        assert not bench.pool.interrupt(424242, Interrupt.SOFT, "nothing")

    def test_a_hard_interrupt_of_what_waits_spares_what_runs(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            pytest.skip("nothing can be killed there")
        bench.measured()
        running = bench.blocked()
        (behind,) = bench.submit(bench.assignment("echo", 1))
        assert bench.pool.interrupt(behind, Interrupt.HARD, "terminated")
        assert isinstance(bench.until_ended(behind)[0], Returned)
        for number, gate in running:
            gate.touch()
            assert isinstance(bench.until_ended(number)[0], Report)

    def test_neighbours_of_a_hard_interrupt_end_or_are_innocent(self, bench: PoolBench) -> None:
        if bench.slots < 3 or bench.in_order:
            pytest.skip("it has no neighbours")
        (doomed, _), (quick, gate), *others = bench.blocked()
        assert bench.pool.interrupt(doomed, Interrupt.HARD, "time limit")
        gate.touch()
        assert isinstance(bench.until_ended(quick)[0], Report)
        (guilty,) = bench.until_ended(doomed)
        assert isinstance(guilty, Lost)
        assert not guilty.innocent
        for innocent in bench.until_ended(*(number for number, _ in others)):
            assert isinstance(innocent, Lost)
            assert innocent.innocent
        bench.settle_down()

    # --- told, not forced -------------------------------------------------------------------------

    def test_revoked_before_it_begins_it_comes_back_and_the_others_run(
        self, bench: PoolBench
    ) -> None:
        if not bench.elsewhere:
            (number,) = bench.submit(bench.assignment("echo", 1))
            assert bench.pool.interrupt(number, Interrupt.REVOKE, "revoked")
            assert isinstance(bench.until_ended(number)[0], Returned)
            return
        bench.measured()
        running = bench.blocked()
        behind = bench.submit(*(bench.assignment("echo", n) for n in range(3)))
        assert bench.pool.interrupt(behind[1], Interrupt.REVOKE, "revoked")
        assert isinstance(bench.until_ended(behind[1])[0], Returned)
        for number, gate in running:
            gate.touch()
            assert isinstance(bench.until_ended(number)[0], Report)
        bench.until_ended(*behind)
        bench.settle_down()

    def test_a_task_may_look_whether_it_was_revoked(self, bench: PoolBench) -> None:
        for task in ("watch", "watch_unbound", "spin", "spin_async"):
            end = bench.interrupted(task, Interrupt.REVOKE, "revoked")
            assert told(end) in ("revoked", "cancelled")

    def test_a_revoked_task_that_does_not_look_runs_to_its_end(self, bench: PoolBench) -> None:
        def act(number: int) -> None:
            assert bench.pool.interrupt(number, Interrupt.REVOKE, "revoked")
            (gate,) = bench.home.glob("run-*.began")
            gate.with_suffix("").touch()

        assert told(bench.meanwhile("tidy", act)) == "nothing"

    def test_a_task_may_look_whether_the_worker_ends(self, bench: PoolBench) -> None:
        for task in ("watch", "watch_for_the_end", "spin", "spin_async"):
            end = bench.meanwhile(task, lambda _: bench.pool.recall())
            assert told(end) in (True, "the worker is shutting down")

    def test_a_cancelled_run_says_nothing_about_the_next(self, bench: PoolBench) -> None:
        bench.interrupted("watch", Interrupt.REVOKE, "revoked")

        def act(number: int) -> None:
            assert bench.pool.interrupt(number, Interrupt.SOFT, "2 s")

        assert told(bench.meanwhile("watch", act)) == "soft time limit"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # nobody may reap it here
    except OSError:
        return False
