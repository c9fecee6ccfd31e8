"""What every Pool must do. Subclass ``PoolSuite`` and give it a fixture ``make_bench``.

``make_bench(**options)`` returns a started ``PoolBench``; options are those of the worker command
(``max_tasks_per_child``) as far as the pool has them. The executors serve the app of
``umbel.testing.conformance.pool_tasks``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from umbel.errors import NotSupported
from umbel.model.assignment import Assignment, Interrupt, Lost, Report, Returned
from umbel.model.delivery import Ack, Quarantine
from umbel.testing.conformance.interrupting import InterruptionSuite
from umbel.testing.conformance.pool_bench import PATIENCE, PoolBench

__all__ = ["PoolBench", "PoolSuite"]


class PoolSuite(InterruptionSuite):
    """Every assignment ends in exactly one Report, Returned or Lost, whatever happens."""

    @pytest.fixture
    def make_bench(self) -> Callable[..., PoolBench]:
        raise NotImplementedError("a subclass provides it")

    @pytest.fixture
    def bench(self, make_bench: Callable[..., PoolBench]) -> PoolBench:
        bench = make_bench()
        bench.until(lambda: bench.pool.room() > 0)
        return bench

    def test_every_assignment_is_reported_once(self, bench: PoolBench) -> None:
        ids = [bench.run("echo", number) for number in range(50)]
        reports = bench.until_ended(*ids)
        assert all(isinstance(each, Report) and each.state == "SUCCESS" for each in reports)
        assert all(isinstance(each, Report) and each.verdict == Ack() for each in reports)
        bench.settle_down()

    def test_room_is_what_is_not_taken(self, bench: PoolBench) -> None:
        assert bench.pool.room() == bench.pool.capacity() >= 1
        (number,) = bench.submit(bench.assignment("echo", 1))
        assert bench.pool.room() == bench.pool.capacity() - 1
        bench.until_ended(number)
        assert bench.pool.room() == bench.pool.capacity()

    def test_a_batch_of_one_slot_is_worked_off_in_order(self, bench: PoolBench) -> None:
        if not bench.in_order:
            pytest.skip("it has many slots")
        bench.measured()
        bench.order.clear()
        batch = [bench.assignment("echo", n) for n in range(min(10, bench.pool.room()))]
        ids = bench.submit(*batch)
        bench.until_ended(*ids)
        assert bench.order == ids

    def test_a_failure_is_reported(self, bench: PoolBench) -> None:
        (report,) = bench.until_ended(bench.run("fail", "no"))
        assert isinstance(report, Report)
        assert report.state == "FAILURE"
        assert b"no" in report.records[0].document

    def test_what_cannot_be_opened_is_set_aside(self, bench: PoolBench) -> None:
        bad = Assignment(9999, b"not a message", "celery", 1, False, None, None)
        (report,) = bench.until_ended(*bench.submit(bad))
        assert isinstance(report, Report)
        assert isinstance(report.verdict, Quarantine)
        bench.until_ended(bench.run("echo", 1))

    def test_large_messages_and_results_pass(self, bench: PoolBench) -> None:
        size = 3_000_000
        sent, made = bench.until_ended(bench.run("echo", "x" * size), bench.run("fill", size))
        for report in (sent, made):
            assert isinstance(report, Report)
            assert len(report.records[0].document) > size
        bench.until_ended(bench.run("echo", 1))

    def test_wake_ends_a_poll(self, bench: PoolBench) -> None:
        waker = threading.Timer(0.05, bench.pool.wake)
        waker.start()
        start = time.monotonic()
        bench.pool.poll(PATIENCE)
        waker.join()
        assert time.monotonic() - start < PATIENCE / 2

    def test_recall_returns_what_was_not_begun(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            ids = bench.submit(bench.assignment("echo", 1))
            bench.pool.recall()
            assert isinstance(bench.until_ended(*ids)[0], Returned)
            return
        bench.measured()
        running = bench.blocked()
        behind = bench.submit(*(bench.assignment("echo", n) for n in range(5)))
        bench.pool.recall()
        assert all(isinstance(each, Returned) for each in bench.until_ended(*behind))
        for number, gate in running:
            gate.touch()
            assert isinstance(bench.until_ended(number)[0], Report)
        bench.settle_down()

    def test_what_waits_behind_a_long_task_comes_back_by_itself(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            pytest.skip("it has no look-ahead")
        bench.measured()
        gates = [bench.home / f"long-{n}" for n in range(bench.slots)]
        bench.submit(*(bench.assignment("wait_for", str(gate)) for gate in gates))
        behind = bench.submit(*(bench.assignment("echo", n) for n in range(3)))
        assert all(isinstance(each, Returned) for each in bench.until_ended(*behind))
        for gate in gates:
            gate.touch()

    def test_a_killed_executor_loses_what_it_had_begun_only(self, bench: PoolBench) -> None:
        if bench.pids is None:
            pytest.skip("it has no processes")
        bench.measured()
        running = bench.blocked()
        behind = bench.submit(*(bench.assignment("echo", n) for n in range(3)))
        for pid in bench.pids():
            os.kill(pid, signal.SIGKILL)
        for lost in bench.until_ended(*(number for number, _ in running)):
            assert isinstance(lost, Lost)
            assert (lost.status, lost.innocent) == (-signal.SIGKILL, False)
        assert all(isinstance(each, Returned) for each in bench.until_ended(*behind))
        bench.until_ended(bench.run("echo", 1))
        bench.settle_down()

    def test_a_task_that_exits_is_lost_or_failed(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            pytest.skip("it ends the worker, as in any program of one process")
        (end,) = bench.until_ended(bench.run("leave", 7))
        if bench.in_order:
            assert end == Lost(end.id, 7)  # type: ignore[union-attr]  # neither is Returned
        else:
            assert isinstance(end, Report)
            assert end.state == "FAILURE"
        bench.until_ended(bench.run("echo", 1))

    def test_executors_that_retire_lose_nothing(self, make_bench: Callable[..., PoolBench]) -> None:
        bench = make_bench(max_tasks_per_child=3)
        if bench.pids is None:
            pytest.skip("it has no processes")
        bench.until(lambda: bench.pool.room() > 0)
        seen: set[int] = set()
        done = 0
        while done < 40:
            bench.until(lambda: bench.pool.room() > 0)
            batch = [bench.assignment("echo", n) for n in range(bench.pool.room())]
            ids = bench.submit(*batch)
            while not all(bench.ends[each] for each in ids):
                seen.update(bench.pids())
                bench.poll_once()
            ends = [bench.ends[each][0] for each in ids]
            assert all(isinstance(each, Report | Returned) for each in ends)
            done += sum(isinstance(each, Report) for each in ends)
        assert len(seen) >= 3
        bench.until(lambda: len(bench.pids() if bench.pids else ()) <= 2)
        bench.settle_down()

    def test_what_runs_is_known_with_its_process(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            pytest.skip("nothing runs while the caller calls")
        bench.measured()
        running = bench.blocked()
        bench.submit(*(bench.assignment("echo", n) for n in range(3)))
        # A task has written that it began before its executor has said so.
        bench.until(lambda: set(bench.pool.running()) == {number for number, _ in running})
        assert set(bench.pool.running().values()) <= set(bench.pool.pids())
        for _, gate in running:
            gate.touch()
        bench.settle_down()

    def test_it_grows_and_shrinks_and_loses_nothing(self, bench: PoolBench) -> None:
        if bench.pids is None:
            with pytest.raises(NotSupported):
                bench.pool.resize(1)
            return
        before = len(bench.pids())
        assert bench.pool.resize(1) == before + 1
        bench.until(lambda: len(bench.pool.pids()) == before + 1)
        bench.measured()
        running = bench.blocked()
        assert bench.pool.resize(-99) == 1
        for number, gate in running:
            gate.touch()
            (end,) = bench.until_ended(number)
            assert isinstance(end, Report)
        bench.until(lambda: len(bench.pool.pids()) == 1)
        assert isinstance(bench.until_ended(bench.run("echo", 1))[0], Report)
        bench.settle_down()

    def test_executors_are_renewed_and_nothing_is_lost(self, bench: PoolBench) -> None:
        if bench.pids is None:
            with pytest.raises(NotSupported):
                bench.pool.renew()
            return
        bench.measured()
        former = set(bench.pool.pids())
        running = bench.blocked()
        bench.pool.renew()
        for number, gate in running:
            gate.touch()
            assert isinstance(bench.until_ended(number)[0], Report)
        bench.until(lambda: not former & set(bench.pool.pids()))
        assert isinstance(bench.until_ended(bench.run("echo", 1))[0], Report)
        bench.settle_down()

    def test_one_that_was_told_to_end_can_still_be_ended_by_force(self, bench: PoolBench) -> None:
        if bench.pids is None:
            pytest.skip("it has no processes")
        bench.measured()
        running = bench.blocked()
        bench.pool.renew()
        for number, _ in running:
            assert bench.pool.interrupt(number, Interrupt.HARD, "terminated")
        for number, _ in running:
            assert isinstance(bench.until_ended(number)[0], Lost)
        bench.settle_down()

    def test_stop_brings_everything_back(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            pytest.skip("nothing runs while the caller calls")
        bench.measured()
        running = [number for number, _ in bench.blocked()]
        behind = bench.submit(*(bench.assignment("echo", n) for n in range(3)))
        bench.pool.stop()
        assert all(isinstance(each, Lost) for each in bench.until_ended(*running))
        assert all(isinstance(each, Returned) for each in bench.until_ended(*behind))
        bench.settle_down()

    def test_close_ends_the_executors(self, bench: PoolBench) -> None:
        pids = list(bench.pids()) if bench.pids is not None else []
        bench.pool.close()
        deadline = time.monotonic() + PATIENCE
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                while True:
                    os.kill(pid, 0)
                    assert time.monotonic() < deadline, "an executor is still there"
                    time.sleep(0.01)
