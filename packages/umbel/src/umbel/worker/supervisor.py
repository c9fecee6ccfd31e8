"""The loop that owns everything mutable: ledger, pool, limits, signals, the phase of shutdown.

It runs on the main thread and never touches the network: ``intake`` does, on its own thread. It
never runs user code either: executors do, in processes forked from the template.

    intake ──Admitted──▶ supervisor ──Assignment──▶ pool ──▶ executor
    intake ◀─Settlement─ supervisor ◀────Report──── pool ◀── executor
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType
from typing import assert_never

from umbel.clock import Clock
from umbel.errors import UmbelError
from umbel.model.assignment import (
    Assignment,
    Began,
    Interrupt,
    Lost,
    Report,
    Returned,
)
from umbel.model.delivery import Effects, Settlement
from umbel.model.lifecycle import Step
from umbel.model.queues import Outgoing
from umbel.ports import Pool
from umbel.wire import envelope
from umbel.worker.endings import Endings
from umbel.worker.intake import Intake, Taken
from umbel.worker.ledger import Entry, Ledger
from umbel.worker.plan import Announce, WorkerPlan
from umbel.worker.shutdown import Phase, Shutdown
from umbel.worker.timelimits import TimeLimits

logger = logging.getLogger("umbel.worker")

TICK = 1.0
"""Seconds between looks at what nobody wakes us for."""
COLD_PATIENCE = 5.0
"""Seconds killed executors have to be seen dead; then their tasks go back all the same."""
LAST_WORDS = 5.0
"""Seconds to settle what is left when the executors have ended."""
HAND_BACK_AFTER = 0.2
"""Seconds a claim waits for a free slot here; then another worker may have one."""


class Supervisor:
    """One worker. ``run`` returns its exit code. Main thread only, except ``ask_to_stop``."""

    def __init__(
        self,
        plan: WorkerPlan,
        pool: Pool,
        intake: Intake,
        clock: Clock,
        announce: Callable[[Announce], None] = lambda _: None,
    ) -> None:
        self._plan = plan
        self._pool = pool
        self._intake = intake
        self._clock = clock
        self._announce = announce
        self._endings = Endings(plan)
        self._ledger = Ledger()
        self._waiting: deque[Entry] = deque()
        self._limits = TimeLimits()
        self._limited = False
        """Whether any task here ever had a time limit: most workers never look."""
        self._shutdown = Shutdown(plan.shutdown_timeout, plan.soft_shutdown_timeout)
        self._asked: list[tuple[bool, str]] = []
        self._signals = 0
        self._exit_code = 0
        self._ready = False
        self._settlements: list[Settlement] = []
        self._loose: list[Effects] = []
        self._processed: dict[str, int] = {}
        self._posted_free = -1

    # --- from outside -----------------------------------------------------------------------------

    def ask_to_stop(self, *, cold: bool = False, sig: str = "") -> None:
        """Begin a warm shutdown, or a cold one; a second call is cold. Any thread or handler.

        ``sig``: the name of the signal that asks, where it is one.
        """
        self._asked.append((cold, sig))
        self._pool.wake()

    def wake(self) -> None:
        """Make the loop look around now. Any thread."""
        self._pool.wake()

    def handle_signals(self) -> None:
        """Take SIGTERM and SIGINT as warm, SIGQUIT as cold; twice is cold, three times is at once.

        Celery's ``REMAP_SIGTERM=SIGQUIT`` in the environment makes SIGTERM cold. At once means that
        this process ends with status 1 and its executors with it; what they ran is rescued when the
        lease ends.
        """
        term_is_cold = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"

        def asked(number: int, _frame: FrameType | None) -> None:
            self._signals += 1
            if self._signals > 2:
                os.write(2, b"Asked a third time: ending at once\n")
                os._exit(1)
            name = signal.Signals(number).name
            cold = name == "SIGQUIT" or (name == "SIGTERM" and term_is_cold)
            self.ask_to_stop(cold=cold, sig=name)

        for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), asked)

    @property
    def processed(self) -> Mapping[str, int]:
        """How many runs ended in each state so far."""
        return self._processed

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Work until asked to stop. Return 0 after a warm end, 1 after a cold one or a failure.

        In the ``celery`` profile a warm end by SIGINT is 1 as well, as in Celery.
        """
        self._pool.start()
        self._intake.start()
        while self._shutdown.phase is not Phase.OVER:
            self.step(self._patience())
        return self._end()

    def step(self, timeout: float) -> None:
        """Look around once, waiting up to ``timeout`` seconds for something to happen."""
        try:
            for event in self._pool.poll(timeout):
                if isinstance(event, Report):
                    self._reported(event)
                else:
                    self._hear(event)
        except UmbelError as error:  # no executor can be started any more
            logger.critical("The worker ends: %s", error)
            self.ask_to_stop(cold=True)
        if not self._ready and self._intake.connected.is_set():
            self._ready = True
            self._announce(Announce("worker_ready"))
        self._take(self._intake.take())
        if self._limited:
            self._look_at_limits()
        self._look_at_shutdown()
        self._dispatch()
        self._post()

    def _patience(self) -> float:
        timeout = TICK
        now = self._clock.monotonic()
        moment = self._limits.next_at() if self._limited else None
        if moment is not None:
            timeout = min(timeout, max(0.0, moment - now))
        left = self._shutdown.left(now)
        if left is not None:
            timeout = min(timeout, left)
        return min(timeout, HAND_BACK_AFTER) if self._waiting else timeout

    def _dispatch(self) -> None:
        if not self._waiting:
            return
        room = self._pool.room()
        now = self._clock.monotonic()
        if room <= 0:
            self._look_at_waiting(now)
            return
        batch: list[Assignment] = []
        while self._waiting and len(batch) < room:
            entry = self._waiting.popleft()
            self._ledger.move(entry, Step.ASSIGNED)
            delivery, run = entry.delivery, entry.run
            batch.append(
                Assignment(
                    entry.id,
                    delivery.raw,
                    delivery.queue,
                    delivery.count,
                    # By us, or by Celery before: it marks the envelope.
                    delivery.redelivered or entry.peek.redelivered,
                    run.soft_limit,
                    run.hard_limit,
                )
            )
        self._pool.submit(batch)

    def _post(self) -> None:
        free = 0
        if self._shutdown.phase is Phase.WORKING:
            free = max(0, self._pool.room() - len(self._waiting))
        if not self._settlements and not self._loose and free == self._posted_free:
            return
        self._intake.post(
            self._settlements,
            self._loose,
            free=free,
            active=len(self._ledger),
            processed=self._processed,
        )
        self._settlements.clear()
        self._loose.clear()
        self._posted_free = free

    # --- what came in -----------------------------------------------------------------------------

    def _take(self, taken: Taken) -> None:
        now = self._clock.monotonic()
        for admitted in taken.admitted:
            entry = self._ledger.open(
                admitted.delivery, admitted.peek, admitted.run, acked=admitted.acked
            )
            entry.waits_since = now
            if self._shutdown.phase is Phase.WORKING:
                self._waiting.append(entry)
            else:
                self._hand_back(entry)
        for receipt in taken.escaped:
            escaped = self._ledger.by_receipt(receipt)
            if escaped is not None and not escaped.acked:
                self._escaped(escaped)
        for revocation in taken.revoked:
            revoked = self._ledger.by_task_id(revocation.task_id)
            if revoked is not None:
                self._revoked(revoked, terminate=revocation.terminate)
        if taken.admitted:
            self._posted_free = -1

    def _escaped(self, entry: Entry) -> None:
        """The lease ran out under us and somebody else may run it: what we bring is refused."""
        logger.warning(
            "Task %s[%s]: its lease ran out (this worker was frozen or cut off); another worker"
            " may run it again, and what this run brings is refused",
            entry.peek.task,
            entry.peek.id,
        )
        if entry.step is Step.CLAIMED:
            self._waiting.remove(entry)
        self._ledger.move(entry, Step.ESCAPED)
        self._close(entry)

    def _revoked(self, entry: Entry, *, terminate: bool) -> None:
        if entry.step is Step.CLAIMED:
            self._waiting.remove(entry)
            self._settle_revoked(entry, "revoked")
        elif terminate:
            logger.info("Terminating task %s[%s]", entry.peek.task, entry.peek.id)
            entry.ending = "terminated"
            self._pool.interrupt(entry.id, Interrupt.HARD, "terminated")
        elif entry.ending is None:
            entry.ending = "revoked"  # if an executor gives it back, it was not begun

    def _settle_revoked(self, entry: Entry, why: str) -> None:
        settlement = self._endings.terminated(entry, self._clock.now(), why)
        self._settle(entry, settlement, "REVOKED")

    # --- what the pool says -----------------------------------------------------------------------

    def _hear(self, event: Began | Returned | Lost) -> None:
        if isinstance(event, Began):
            self._began(event)
        elif isinstance(event, Returned):
            for entry_id in event.ids:
                self._returned(entry_id)
        elif isinstance(event, Lost):
            self._lost(event)
        else:
            assert_never(event)

    def _reported(self, report: Report) -> None:
        entry = self._ledger.get(report.id)
        if entry is None:
            return  # it escaped; intake said so, and the store refuses it in any case
        outgoing: tuple[Outgoing, ...] = ()
        if report.outgoing:
            outgoing = tuple(
                Outgoing(message=envelope.load(each.raw), queue=each.queue, due_at=each.due_at)
                for each in report.outgoing
            )
        effects = Effects(report.records, outgoing)
        self._settle(
            entry, Settlement(entry.delivery.receipt, report.verdict, effects), report.state
        )

    def _close(self, entry: Entry) -> None:
        if self._limited:
            self._limits.ended(entry.id)
        self._ledger.close(entry)

    def _settle(self, entry: Entry, settlement: Settlement, state: str) -> None:
        self._ledger.move(entry, Step.REPORTED)
        self._close(entry)
        self._processed[state] = self._processed.get(state, 0) + 1
        if not entry.acked:
            self._settlements.append(settlement)
        elif settlement.effects.records or settlement.effects.outgoing:
            self._loose.append(settlement.effects)

    def _began(self, event: Began) -> None:
        entry = self._ledger.get(event.id)
        if entry is None:
            return
        if entry.step is Step.ASSIGNED:
            self._ledger.move(entry, Step.RUNNING)
            self._start_limits(entry)
        if event.record is None:
            return
        effects = Effects((event.record,))
        if entry.acked:
            self._loose.append(effects)
        else:
            self._settlements.append(Settlement(entry.delivery.receipt, None, effects))

    def _returned(self, entry_id: int) -> None:
        entry = self._ledger.get(entry_id)
        if entry is None:
            return
        self._limits.ended(entry_id)
        self._ledger.move(entry, Step.CLAIMED)
        entry.waits_since = self._clock.monotonic()
        ending, entry.ending = entry.ending, None
        if ending in ("terminated", "revoked"):
            self._settle_revoked(entry, ending)
        elif self._shutdown.phase is Phase.WORKING and self._pool.room() > len(self._waiting):
            self._waiting.appendleft(entry)
        else:
            # No slot here will be free soon: somebody else's may be.
            self._hand_back(entry)

    def _hand_back(self, entry: Entry) -> None:
        if entry.acked:
            if self._shutdown.phase >= Phase.COLD:
                self._send_again(entry)
            else:
                self._waiting.appendleft(entry)  # nobody else can have it
            return
        self._ledger.move(entry, Step.REPORTED)
        self._close(entry)
        self._settlements.append(self._endings.handed_back(entry))

    def _look_at_waiting(self, now: float) -> None:
        """What has waited too long for a slot goes back, and another worker may have it."""
        keep: deque[Entry] = deque()
        waiting, self._waiting = self._waiting, keep
        for entry in waiting:
            if entry.acked or now - entry.waits_since < HAND_BACK_AFTER:
                keep.append(entry)
            else:
                self._hand_back(entry)

    def _lost(self, event: Lost) -> None:
        entry = self._ledger.get(event.id)
        if entry is None:
            return
        now = self._clock.now()
        name, task_id = entry.peek.task, entry.peek.id
        if entry.ending == "time limit":
            settlement, limit = self._endings.timed_out(entry, now)
            logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit.args[0], name, task_id)
            self._settle(entry, settlement, "FAILURE")
        elif entry.ending == "terminated":
            self._settle_revoked(entry, "terminated")
        elif (event.innocent or self._shutdown.phase >= Phase.COLD) and not entry.acked:
            logger.warning("Task %s[%s] was cut short; it goes back to its queue", name, task_id)
            self._settle(entry, self._endings.interrupted(entry), "INTERRUPTED")
        else:
            settlement, error = self._endings.lost(entry, event.status, now)
            logger.error("Task %s[%s]: %s", name, task_id, error)
            self._settle(entry, settlement, "LOST")

    # --- limits and the end -----------------------------------------------------------------------

    def _start_limits(self, entry: Entry) -> None:
        run = entry.run
        if run.soft_limit is None and run.hard_limit is None:
            return
        self._limited = True
        now = self._clock.monotonic()
        self._limits.began(entry.id, now, run.soft_limit, run.hard_limit)

    def _look_at_limits(self) -> None:
        for limit in self._limits.due(self._clock.monotonic()):
            entry = self._ledger.get(limit.entry_id)
            if entry is None or entry.step is not Step.RUNNING:
                continue
            if limit.hard:
                entry.ending = "time limit"
                self._pool.interrupt(entry.id, Interrupt.HARD, "time limit")
            else:
                logger.warning(
                    "Soft time limit (%ss) exceeded for %s[%s]",
                    entry.run.soft_limit,
                    entry.peek.task,
                    entry.peek.id,
                )
                reason = f"{entry.run.soft_limit:g} s"
                self._pool.interrupt(entry.id, Interrupt.SOFT, reason)

    def _look_at_shutdown(self) -> None:
        now = self._clock.monotonic()
        asked, self._asked = self._asked, []
        for cold, sig in asked:
            if self._shutdown.ask(cold=cold, now=now):
                self._enter(self._shutdown.phase, sig)
            elif self._shutdown.phase is Phase.WARM:
                logger.warning("Soft shutdown: tasks have %s s left", self._shutdown.timeout)
        failed = self._intake.failure is not None
        if failed and self._shutdown.ask(cold=True, now=now, at_once=True):
            self._enter(Phase.COLD)
        if self._shutdown.phase is Phase.WORKING:
            return
        if self._shutdown.expired(now) and self._shutdown.ask(cold=True, now=now, at_once=True):
            logger.warning("Tasks still run after %s s", self._shutdown.timeout)
            self._enter(Phase.COLD)
        if self._shutdown.cold_for(now) > COLD_PATIENCE:
            self._give_up_on_executors()
        if not len(self._ledger):
            self._shutdown.phase = Phase.OVER

    def _give_up_on_executors(self) -> None:
        for entry in self._ledger:
            logger.error(
                "Task %s[%s]: its killed executor does not end; the task goes back to its queue",
                entry.peek.task,
                entry.peek.id,
            )
            self._lost(Lost(entry.id, None))

    def _enter(self, phase: Phase, sig: str = "") -> None:
        count = len(self._ledger)
        if phase is Phase.WARM:
            how = "Warm"
            logger.warning("Warm shutdown: waiting for %d tasks", count)
            self._exit_code = int(sig == "SIGINT" and self._plan.profile == "celery")
        else:
            how = "Cold"
            logger.warning("Cold shutdown: returning %d tasks to their queues", count)
            self._exit_code = 1
        self._announce(Announce("worker_shutting_down", sig, how, self._exit_code))
        if phase is Phase.WARM:
            self._pool.recall()
        else:
            self._pool.stop()
        waiting, self._waiting = self._waiting, deque()
        for entry in reversed(waiting):
            # What is acknowledged already nobody else can have: in a warm shutdown it still runs.
            self._hand_back(entry)

    def _send_again(self, entry: Entry) -> None:
        self._ledger.move(entry, Step.REPORTED)
        self._close(entry)
        self._loose.append(self._endings.sent_again(entry.delivery))

    def _end(self) -> int:
        self._post()
        settled = self._intake.stop(LAST_WORDS)
        if not settled:
            logger.error(
                "The broker does not answer: %s are rescued by other workers when the lease ends",
                "the claims of this worker",
            )
        self._pool.close()
        self._announce(Announce("worker_shutdown"))
        failed = self._intake.failure is not None or not settled
        return 1 if failed else self._exit_code
