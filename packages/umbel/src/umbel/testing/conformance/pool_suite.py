"""What every Pool must do. Subclass ``PoolSuite`` and give it a fixture ``make_bench``.

``make_bench(**options)`` returns a started ``PoolBench``; options are those of the worker command
(``max_tasks_per_child``) as far as the pool has them. The executors serve the app of
``umbel.testing.conformance.pool_tasks``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from umbel.model.assignment import (
    Assignment,
    Began,
    Interrupt,
    Lost,
    PoolEvent,
    Report,
    Returned,
)
from umbel.model.delivery import Ack, Quarantine
from umbel.model.message import TaskMessage
from umbel.ports import Pool
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode

PATIENCE = 20.0


class PoolBench:
    """A pool under test, and the books of what became of each assignment.

    ``elsewhere``: tasks run beside the caller, not inside ``poll``. ``slots``: tasks at once.
    ``soft``: a soft interrupt reaches a sleeping task. ``in_order``: one slot that works in order.
    ``pids``: the executors that are up, where they are processes.
    """

    def __init__(
        self,
        pool: Pool,
        home: Path,
        *,
        slots: int,
        elsewhere: bool = True,
        soft: bool = True,
        in_order: bool = False,
        pids: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self.pool = pool
        self.home = home
        self.slots = slots
        self.elsewhere = elsewhere
        self.soft = soft
        self.in_order = in_order
        self.pids = pids
        self.ends: dict[int, list[PoolEvent]] = {}
        self.began: set[int] = set()
        self.order: list[int] = []
        self._numbers = itertools.count(1)

    def assignment(self, task: str, *args: Any, **limits: float | None) -> Assignment:
        """Return one for a task of the suite's app."""
        number = next(self._numbers)
        message = TaskMessage(id=f"id-{number}", task=f"suite.{task}", args=args)
        raw = envelope.dump_compact(encode(message, serializer=SERIALIZERS.get("json")))
        return Assignment(number, raw, "celery", 1, False, limits.get("soft"), limits.get("hard"))

    def submit(self, *assignments: Assignment) -> list[int]:
        """Hand these over at once; the caller sees to the room."""
        for each in assignments:
            self.ends[each.id] = []
        self.pool.submit(assignments)
        return [each.id for each in assignments]

    def run(self, task: str, *args: Any) -> int:
        """Hand one over as soon as there is room."""
        self.until(lambda: self.pool.room() > 0)
        return self.submit(self.assignment(task, *args))[0]

    def until(self, holds: Callable[[], bool]) -> None:
        """Poll, and write down what is heard, until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"it did not happen; so far: {self.ends}"
            self.poll_once()

    def poll_once(self) -> None:
        """Poll for a moment and write down what is heard."""
        self._note(self.pool.poll(0.01))

    def _note(self, events: Sequence[PoolEvent]) -> None:
        for event in events:
            if isinstance(event, Began):
                self.began.add(event.id)
                continue
            ids = event.ids if isinstance(event, Returned) else (event.id,)
            for each in ids:
                self.ends[each].append(event)
                self.order.append(each)

    def until_ended(self, *ids: int) -> list[PoolEvent]:
        """Poll until each of these has ended; return how."""
        self.until(lambda: all(self.ends[each] for each in ids))
        return [self.ends[each][0] for each in ids]

    def measured(self) -> None:
        """Run some short tasks, so that the pool knows that it may look ahead."""
        for _ in range(3 * self.slots):
            self.until_ended(self.run("echo", 1))

    def blocked(self, count: int | None = None) -> list[tuple[int, Path]]:
        """Have slots run a task each that waits for its gate; return once they have begun."""
        gates = []
        for number in range(self.slots if count is None else count):
            gate = self.home / f"gate-{next(self._numbers)}-{number}"
            gates.append((self.run("wait_for", str(gate)), gate))
        for _, gate in gates:
            self.until(Path(f"{gate}.began").exists)
        return gates

    def settle_down(self) -> None:
        """Poll a little more: nothing may come twice."""
        for _ in range(3):
            self._note(self.pool.poll(0.01))
        assert all(len(each) <= 1 for each in self.ends.values()), self.ends


class PoolSuite:
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

    def test_a_soft_interrupt_is_raised_inside_the_task(self, bench: PoolBench) -> None:
        if not (bench.elsewhere and bench.soft):
            pytest.skip("it cannot be reached from outside")
        ((number, gate),) = bench.blocked(1)
        assert bench.pool.interrupt(number, Interrupt.SOFT, "1 s")
        (report,) = bench.until_ended(number)
        assert isinstance(report, Report)
        assert report.state == "FAILURE"
        assert b"SoftTimeLimitExceeded" in report.records[0].document
        gate.touch()
        bench.until_ended(bench.run("echo", 1))

    def test_an_interrupt_of_what_is_not_here_does_nothing(self, bench: PoolBench) -> None:
        assert not bench.pool.interrupt(424242, Interrupt.HARD, "nothing")
        assert not bench.pool.interrupt(424242, Interrupt.SOFT, "nothing")

    def test_a_hard_interrupt_ends_the_task_and_the_pool_goes_on(self, bench: PoolBench) -> None:
        if not bench.elsewhere:
            pytest.skip("nothing can be killed there")
        ((number, _),) = bench.blocked(1)
        assert bench.pool.interrupt(number, Interrupt.HARD, "time limit")
        (lost,) = bench.until_ended(number)
        assert isinstance(lost, Lost)
        assert not lost.innocent
        bench.until_ended(bench.run("echo", 1))

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
