"""An app on a store in memory, with the real worker, and a clock that stands still.

    with Sandbox(app) as box:
        report.delay(7)
        box.drain()                # everything that can run now has run
        box.advance(hours=1)       # retries, delays, schedules, expiry, leases of that hour too

Nothing happens by itself: the worker works inside ``drain`` and ``advance``, on the caller's
thread, one task at a time, in the order in which it is due.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from umbel.beat.service import Scheduler
from umbel.drivers.memory import MemoryDriver
from umbel.drivers.memory.schedule_store import MemoryScheduleStore
from umbel.drivers.opening import adopt, disown
from umbel.errors import OperationalError
from umbel.model.assignment import PoolEvent, Report
from umbel.model.message import TaskMessage
from umbel.ports import Broker, Driver, Pool, ResultBackend
from umbel.testing.faults import FaultyBroker
from umbel.testing.in_process import Machine, assemble
from umbel.testing.manual_clock import ManualClock
from umbel.testing.mortal_pool import Died, MortalPool
from umbel.worker.pools.solo import SoloPool

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task

MOST_RUNS = 10_000
"""Runs of one ``drain``; more means that tasks send each other for ever."""
_numbers = itertools.count(1)


class _Store(Driver):
    """A store in memory whose connection breaks when the test says so."""

    def __init__(self, clock: ManualClock) -> None:
        self.inner = MemoryDriver(clock)
        self.faults = FaultyBroker(self.inner.broker())

    def broker(self) -> Broker:
        return self.faults

    def result_backend(self) -> ResultBackend:
        return self.inner.result_backend()

    def schedule_store(self, timetable: str) -> MemoryScheduleStore:
        return self.inner.schedule_store(timetable)


class Sandbox:
    """A store, a worker, a scheduler and a clock for one app, as long as the block lasts.

    Used by one thread. ``clock``: the time; ``app.now()`` and delays follow it, ``datetime.now()``
    in your own code does not.
    """

    def __init__(
        self, app: App, *, queues: Sequence[str] = (), now: datetime | None = None
    ) -> None:
        """``queues``: those the worker consumes, by default those of the settings. ``now``: an
        aware moment that the clock starts at, by default the present."""
        self.app = app
        self.clock = ManualClock(now or datetime.now(UTC))
        self._queues = tuple(queues)
        self._store = _Store(self.clock)
        self._url = f"memory://sandbox-{next(_numbers)}"
        self._machine: Machine | None = None
        self._pool: MortalPool | None = None
        self._scheduler: Scheduler | None = None
        self._saved: tuple[Any, Any] | None = None
        self.runs: list[Report] = []
        """How each run ended, oldest first; ``state`` of each is Celery's word."""

    def __enter__(self) -> Self:
        app = self.app
        assert app.settings is not None  # the settings are read now, not in the copy
        self._saved = app.conf, app.clock
        app.conf = app.conf.copy()
        app.conf.set_from_command_line(
            {
                "broker_url": self._url,
                "broker_read_url": self._url,
                "broker_write_url": self._url,
                "result_backend": self._url,
                "beat_store": self._url,
                "task_always_eager": False,
            },
            "worker",
        )
        app.clock = self.clock
        adopt(self._url, self._store)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._saved is not None
        self._store.faults.is_down = False
        if self._machine is not None:
            self._end(self._machine)
        self.app.connections.close()
        self.app.conf, self.app.clock = self._saved
        disown(self._url)

    # --- letting things happen --------------------------------------------------------------------

    def drain(self, most: int = MOST_RUNS) -> int:
        """Run everything that can run now, and what follows from it; return how many runs.

        Raises AssertionError after ``most`` runs.
        """
        before = len(self.runs)
        quiet = 0
        while quiet < 2:  # what was claimed in one round begins in the next
            quiet = 0 if self._step() else quiet + 1
            if len(self.runs) - before > most:
                raise AssertionError(
                    f"More than {most} runs, and there is still something to run: a task seems to"
                    " send itself, or two each other, without a delay."
                )
        return len(self.runs) - before

    def advance(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0
    ) -> int:
        """Let this much time pass, doing at each moment what is due then; return how many runs."""
        target = self.clock.now() + timedelta(
            seconds=seconds, minutes=minutes, hours=hours, days=days
        )
        count = self.drain()
        while (left := (target - self.clock.now()).total_seconds()) > 0:
            self.clock.advance(min(left, max(0.001, self._until_next())))
            self._schedule()
            count += self.drain()
        return count

    def _until_next(self) -> float:
        names = [queue.name for queue in self.app.router.queues.values()]
        inner = self._store.inner.broker().memory
        waits = [inner.until_next_event([*names, *self._queues])]
        if self._beats():
            waits.append(self._schedule())
        return min((each for each in waits if each is not None), default=float("inf"))

    def _beats(self) -> bool:
        return bool(self.app.periodic.all()) or self._scheduler is not None

    def _schedule(self) -> float:
        """Send what the schedule says is due; return the seconds until the next look."""
        if not self._beats():
            return float("inf")
        if self._scheduler is None:
            self._scheduler = Scheduler(self.app, clock=self.clock, max_interval=3600.0)
            self._scheduler.read_program()
        while (wait := self._scheduler.tick()) <= 0:
            pass
        return wait

    def _step(self) -> bool:
        """Do one round of the worker's loop; tell whether there may be more to do."""
        machine = self._machine or self._begin()
        if self._store.faults.is_down:
            return False
        before = len(self.runs)
        try:
            if not machine.intake.connected.is_set():
                machine.intake.connect()
            machine.intake.step(0.0)
            machine.supervisor.step(0.0)
            machine.intake.step(0.0)
        except OperationalError:
            machine.intake.connected.clear()
            return True  # as a worker does: connect anew, and do it again
        except Died:
            self._machine = None  # nobody says goodbye: its claims rest until its lease is over
            return True
        memory = self._store.inner.broker().memory
        names = self._consumed()
        ready = any(each.ready for each in memory.stats(names))
        return ready or len(machine.supervisor.ledger) > 0 or len(self.runs) > before

    def _consumed(self) -> list[str]:
        return list(self._queues) or [queue.name for queue in self.app.router.queues.values()]

    def _begin(self) -> Machine:
        def around(pool: SoloPool) -> Pool:
            self._pool = MortalPool(pool, self._pool)
            self._pool.heard = self._hear
            return self._pool

        self._machine = assemble(
            self.app,
            self._store.faults,
            self._store.result_backend(),
            clock=self.clock,
            queues=self._queues,
            around=around,
        )
        return self._machine

    def _hear(self, event: PoolEvent) -> None:
        if isinstance(event, Report):
            self.runs.append(event)

    def _end(self, machine: Machine) -> None:
        if machine.intake.connected.is_set():
            machine.intake.ask_to_stop()
            while not machine.intake.step(0.0):
                pass

    # --- breaking things --------------------------------------------------------------------------

    def kill_worker(self, when: Literal["before", "after"] = "after") -> None:
        """Have the worker die in its next run: before the task's body, or right after it.

        What it held comes back when its lease is over (``advance(seconds=app.conf.worker_lease)``),
        unless the task acknowledges early. A new worker is there at once.
        """
        if self._machine is None:
            self._begin()
        assert self._pool is not None
        self._pool.dies = when

    def redeliver(self) -> int:
        """Run what waits, the first of it twice, as after a crash; return how many runs.

        Time passes meanwhile: as much as the lease of a worker.
        """
        self.kill_worker("after")
        count = self.drain()
        return count + self.advance(self.app.settings.worker_lease + 1)

    @contextmanager
    def broker_down(self) -> Iterator[None]:
        """Have the broker out of reach as long as the block lasts: sending raises, nothing runs."""
        self._store.faults.is_down = True
        try:
            yield
        finally:
            self._store.faults.is_down = False

    # --- looking ----------------------------------------------------------------------------------

    @property
    def sent(self) -> list[TaskMessage]:
        """Every message that was sent by a call, oldest first; not what follows from runs."""
        return [self.app.decode(each.message) for each in self._store.faults.sent]

    def assert_enqueued(
        self,
        task: Task[..., Any] | str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        countdown: float | None = None,
        times: int | None = None,
    ) -> list[TaskMessage]:
        """Check that a task was sent; return the messages that fit what is given.

        ``countdown``: seconds from now, to the second. ``times``: exactly so often, else at least
        once. Raises AssertionError telling what was sent.
        """
        name = task if isinstance(task, str) else task.name
        found = [
            message
            for message, place in self._sent_to()
            if message.task == name
            and (args is None or list(message.args) == list(args))
            and (kwargs is None or dict(message.kwargs) == dict(kwargs))
            and (queue is None or place == queue)
            and (countdown is None or self._is_due_in(message, countdown))
        ]
        if (times is None and found) or len(found) == times:
            return found
        wanted = "at least once" if times is None else f"{times} times"
        raise AssertionError(
            f"{name} was to be sent {wanted} and was {len(found)} times, as asked for. Sent were: "
            + ("; ".join(_shown(*each) for each in self._sent_to()) or "no messages at all")
        )

    def assert_not_enqueued(self, task: Task[..., Any] | str) -> None:
        """Check that a task was not sent."""
        self.assert_enqueued(task, times=0)

    def _sent_to(self) -> list[tuple[TaskMessage, str]]:
        return [(self.app.decode(e.message), e.queue.name) for e in self._store.faults.sent]

    def _is_due_in(self, message: TaskMessage, countdown: float) -> bool:
        if message.eta is None:
            return countdown == 0
        return abs((message.eta - self.clock.now()).total_seconds() - countdown) < 1.0


def _shown(message: TaskMessage, queue: str) -> str:
    words = [repr(each) for each in message.args]
    words += [f"{key}={value!r}" for key, value in message.kwargs.items()]
    later = f" at {message.eta.isoformat()}" if message.eta is not None else ""
    return f"{message.task}({', '.join(words)}) to {queue}{later}"
