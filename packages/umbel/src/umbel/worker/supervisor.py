"""The loop that owns everything mutable: ledger, pool, limits, signals, the phase of shutdown.

It runs on the main thread and never touches the network: ``intake`` does, on its own thread. It
never runs user code either: executors do, in processes forked from the template.

    intake ──Admitted──▶ supervisor ──Assignment──▶ pool ──▶ executor
    intake ◀─Settlement─ supervisor ◀────Report──── pool ◀── executor
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable

from umbel.clock import Clock
from umbel.errors import UmbelError
from umbel.model.assignment import Assignment, Began, Lost, Report, Returned
from umbel.model.lifecycle import Step
from umbel.model.revocation import Revocation
from umbel.ports import Pool
from umbel.worker.intake import Intake, Taken
from umbel.worker.interrupter import Interrupter
from umbel.worker.ledger import Entry, Ledger
from umbel.worker.observing import Ending, Observer
from umbel.worker.plan import Announce, WorkerPlan
from umbel.worker.progress import Silence
from umbel.worker.settlements import Settlements
from umbel.worker.shutdown import Phase, Shutdown
from umbel.worker.timelimits import sooner

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
        observer: Observer | None = None,
    ) -> None:
        self._plan = plan
        self._observer = observer
        self._pool = pool
        self._intake = intake
        self._clock = clock
        self._announce = announce
        self._ledger = self.ledger = Ledger()
        """Every claim that is here. Others on the main thread may look at it."""
        self.slots = plan.concurrency
        """Tasks at once; remote control may change it."""
        self._waiting: deque[Entry] = deque()
        self._interrupter = Interrupter(pool, self._ledger, clock)
        self._shutdown = Shutdown(plan.shutdown_timeout, plan.soft_shutdown_timeout)
        self._asked: list[tuple[bool, str]] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._exit_code = 0
        self._ready = False
        self._settlements = Settlements(plan, self._ledger, self._interrupter, observer, clock)
        self._notices = self._settlements.notices
        self.processed = self._settlements.processed
        """How many runs ended in each state so far; ``by_name`` of each task."""
        self.by_name = self._settlements.by_name
        self._posted_free = -1
        self._silence = Silence(plan.stall_timeout, TICK)

    # --- from outside -----------------------------------------------------------------------------

    def ask_to_stop(self, cold: bool = False, sig: str = "") -> None:
        """Begin a warm shutdown, or a cold one; a second call is cold. Any thread or handler.

        ``sig``: the name of the signal that asks, where it is one.
        """
        self._asked.append((cold, sig))
        self._pool.wake()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have this called on the main thread, between two looks around. Any thread."""
        self._calls.append(call)
        self._pool.wake()

    def measure(self, on_settled: Callable[[Entry, Ending], None]) -> None:
        """Have this told, on the main thread, of every end. Before ``run``."""
        self._settlements.on_settled = on_settled

    @property
    def phase(self) -> Phase:
        """How far the shutdown has come. The main thread only."""
        return self._shutdown.phase

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Work until asked to stop. Return 0 after a warm end, 1 after a cold one or a failure.

        In the ``celery`` profile a warm end by SIGINT is 1 as well, as in Celery.
        """
        self._pool.start()
        self._intake.start()
        while self._shutdown.phase is not Phase.OVER:
            self.step(self._patience(TICK))
        return self._end()

    def step(self, timeout: float | None) -> None:
        """Look around once, waiting up to ``timeout`` seconds for something to happen."""
        try:
            for event in self._pool.poll(TICK if timeout is None else timeout):
                if isinstance(event, Report):
                    self._settlements.reported(event)
                else:
                    self._hear(event)
        except UmbelError as error:  # no executor can be started any more
            logger.critical("The worker ends: %s", error)
            self.ask_to_stop(cold=True)
        if not self._ready and self._intake.connected.is_set():
            self._ready = True
            self._announce(Announce("worker_ready"))
        self._take(self._intake.take())
        if self._interrupter.limited:
            self._interrupter.look()
        self._look_at_shutdown()
        self._dispatch()
        self._post()

    def glance(self) -> float | None:
        """Look around while a task runs inside ``poll`` (``pools.solo``), on the same thread.

        Starts nothing. Returns in how many seconds to look again though nobody wakes us, or None.
        """
        self._take(self._intake.take())
        if self._interrupter.limited:
            self._interrupter.look()
        self._look_at_shutdown()
        if self._waiting:
            self._look_at_waiting(self._clock.monotonic())
        self._post()
        if self._shutdown.phase is Phase.OVER:
            logger.error("A task cannot be ended, and so the process ends with it")
            os._exit(self._end())
        return self._patience(None)

    def _patience(self, longest: float | None) -> float | None:
        """In how many seconds to look though nobody wakes us: ``longest`` where nothing is due."""
        now = self._clock.monotonic()
        moment = self._interrupter.next_at() if self._interrupter.limited else None
        if moment is not None:
            longest = sooner(longest, max(0.0, moment - now))
        if self._shutdown.phase is not Phase.WORKING:
            left = self._shutdown.left(now)
            longest = sooner(longest, TICK if left is None else left)
        return sooner(longest, HAND_BACK_AFTER) if self._waiting else longest

    def _dispatch(self) -> None:
        if self._notices.waiting and (notices := self._notices.assignments(self._pool.room())):
            self._pool.submit(notices)
        if not self._waiting:
            return
        room = self._pool.room()
        now = self._clock.monotonic()
        if room <= 0:
            self._look_at_waiting(now)
            return
        batch: list[Assignment] = []
        watching = self._observer is not None and self._observer.watching
        while self._waiting and len(batch) < room:
            entry = self._waiting.popleft()
            self._ledger.move(entry, Step.ASSIGNED)
            entry.began_at = now
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
                    watching and run.traits.send_events,
                    None if entry.found is None else entry.found.obituary,
                )
            )
        self._pool.submit(batch)

    def _post(self) -> None:
        if self._observer is not None:
            self._observer.flush()
        free = 0
        if self._shutdown.phase is Phase.WORKING:
            free = max(0, self._pool.room() - len(self._waiting))
        settlements, loose = self._settlements.settlements, self._settlements.loose
        if not settlements and not loose and free == self._posted_free:
            return
        self._intake.post(
            settlements,
            loose,
            free=free,
            active=len(self._ledger),
            processed=self.processed,
        )
        settlements.clear()
        loose.clear()
        self._posted_free = free

    # --- what came in -----------------------------------------------------------------------------

    def _take(self, taken: Taken) -> None:
        now = self._clock.monotonic()
        while self._calls:
            self._calls.popleft()()
        watching = self._observer is not None and self._observer.watching
        for admitted in taken.admitted:
            entry = self._ledger.open(
                admitted.delivery, admitted.peek, admitted.run, acked=admitted.acked
            )
            entry.waits_since = now
            if watching and self._observer is not None:
                self._observer.received(entry)
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
                self._revoked(revoked, revocation)
        if taken.admitted:
            self._posted_free = -1
        self._notices.waiting.extend(taken.notices)

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
        else:
            self._interrupter.escaped(entry)
        self._ledger.move(entry, Step.ESCAPED)
        self._settlements.close(entry)

    def _revoked(self, entry: Entry, revocation: Revocation) -> None:
        if entry.found is not None:
            return  # it has ended already
        if entry.step is Step.CLAIMED:
            self._waiting.remove(entry)
            self._settlements.revoked(entry, "revoked")
        else:
            self._interrupter.revoke(entry, revocation)

    # --- what the pool says -----------------------------------------------------------------------

    def _hear(self, event: Began | Returned | Lost) -> None:
        match event:
            case Began():
                self._began(event)
            case Returned():
                for entry_id in event.ids:
                    self._returned(entry_id)
            case Lost():
                self._lost(event)

    def _began(self, event: Began) -> None:
        entry = self._ledger.get(event.id)
        if entry is None:
            return
        if entry.step is Step.ASSIGNED:
            self._ledger.move(entry, Step.RUNNING)
            self._interrupter.began(entry)
            if self._observer is not None and entry.found is None:
                self._observer.began(entry)
        if event.record is not None:
            self._settlements.noted(entry, event.record)

    def _returned(self, entry_id: int) -> None:
        entry = self._ledger.get(entry_id)
        if entry is None:
            return
        self._interrupter.ended(entry_id)
        self._ledger.move(entry, Step.CLAIMED)
        entry.waits_since = self._clock.monotonic()
        ending, entry.ending = entry.ending, None
        if ending in ("terminated", "revoked"):
            self._settlements.revoked(entry, ending)
        elif self._shutdown.phase is Phase.WORKING and self._pool.room() > len(self._waiting):
            self._waiting.appendleft(entry)
        else:
            # No slot here will be free soon: somebody else's may be.
            self._hand_back(entry)

    def _hand_back(self, entry: Entry) -> None:
        if entry.stays and self._shutdown.phase < Phase.COLD:
            self._waiting.appendleft(entry)
        elif entry.found is not None:
            self._settlements.told_later(entry, entry.found)
        else:
            self._settlements.handed_back(entry)

    def _look_at_waiting(self, now: float) -> None:
        """What has waited too long for a slot goes back, and another worker may have it."""
        keep: deque[Entry] = deque()
        waiting, self._waiting = self._waiting, keep
        for entry in waiting:
            if entry.stays or now - entry.waits_since < HAND_BACK_AFTER:
                keep.append(entry)
            else:
                self._hand_back(entry)

    def _lost(self, event: Lost) -> None:
        entry = self._ledger.get(event.id)
        if entry is None:
            return
        cold = self._shutdown.phase >= Phase.COLD
        if self._settlements.lost(entry, event, cold=cold):
            self._interrupter.ended(entry.id)
            self._ledger.move(entry, Step.CLAIMED)
            self._waiting.appendleft(entry)

    # --- limits and the end -----------------------------------------------------------------------

    def _look_at_shutdown(self) -> None:
        now = self._clock.monotonic()
        asked, self._asked = self._asked, []
        for cold, sig in asked:
            if self._shutdown.ask(cold=cold, now=now):
                self._enter(self._shutdown.phase, sig)
            elif self._shutdown.phase is Phase.WARM:
                logger.warning("Soft shutdown: tasks have %s s left", self._shutdown.timeout)
        failed = self._intake.failure is not None or (
            now >= self._silence.look_at and self._silence.too_long(now, self._intake.steps)
        )
        if self._intake.gave_up and self._shutdown.phase is Phase.WORKING:
            self._shutdown.ask(cold=False, now=now)
            self._enter(Phase.WARM)
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
        failed = self._intake.failure is not None or self._intake.gave_up or not settled
        return 1 if failed else self._exit_code
