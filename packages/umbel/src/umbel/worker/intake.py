"""The thread that owns the consumer: claim, peek, admit, settle, renew.

The supervisor's main thread never waits for the network; it posts what became of its claims here
and takes new ones from here. Owned by this thread: the consumer, the leases, what was revoked.
Shared under one lock: what waits to be settled, what was admitted, and the credit.

Credit: the main thread says how many more assignments it can take (``free``). Claims that wait
for it in ``_admitted`` are taken off, so the two threads never claim one slot twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import msgspec

from umbel.clock import Clock
from umbel.errors import OperationalError, UsageError, WireError
from umbel.model.delivery import Ack, Delivery, Effects, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.revocation import Revocation
from umbel.ports import Broker, Consumer, ResultBackend
from umbel.wire import envelope
from umbel.wire.envelope import Peek
from umbel.worker.admission import Drop, Rest, Run, SetAside, admit
from umbel.worker.endings import Endings
from umbel.worker.intake_log import log_decision, log_refused, sentence
from umbel.worker.notices import Noticed, Notices
from umbel.worker.plan import WorkerPlan
from umbel.worker.progress import Deliveries, Stall
from umbel.worker.resting import Rested
from umbel.worker.revoked import RevokedIds
from umbel.worker.unclaimed import Unclaimed

logger = logging.getLogger("umbel.worker")

BACKOFF_FIRST, BACKOFF_MOST = 0.1, 5.0
"""Seconds between tries to reach the broker, at first and in the end."""
HELD_SHARE = 10
"""With claims in hand, tries are at most this part of the lease apart: an outage must not take much
more of the lease than it lasts."""


class Admitted(msgspec.Struct, frozen=True):
    """A claim that may run now. ``acked``: acknowledged already (early)."""

    delivery: Delivery
    peek: Peek
    run: Run
    acked: bool


class Taken(msgspec.Struct, frozen=True):
    """What the main thread takes from here in one go."""

    admitted: tuple[Admitted, ...]
    escaped: tuple[Receipt, ...]
    """Claims that turned out to be no longer ours."""
    revoked: tuple[Revocation, ...]
    notices: tuple[Noticed, ...] = ()
    """What signals are to tell of what is never run."""


class Intake:
    """Claims for the supervisor and settles for it. ``start`` runs it on a thread of its own."""

    def __init__(
        self,
        broker: Broker,
        backend: ResultBackend | None,
        plan: WorkerPlan,
        presence: Presence,
        *,
        clock: Clock,
        notify: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._backend = backend
        self._plan = plan
        self._presence = presence
        self._clock = clock
        self._notify = notify
        self._endings = Endings(plan)
        self._thread = threading.Thread(target=self._run, name="umbel-intake", daemon=True)

        self._lock = threading.Lock()
        self._bell = threading.Condition(self._lock)
        self._settlements: list[Settlement] = []
        self._loose: list[Effects] = []
        self._admitted: list[Admitted] = []
        self._escaped: list[Receipt] = []
        self._news: list[Revocation] = []
        self._notices = Notices(plan)
        self._free = 0
        self._active = 0
        self._processed: dict[str, int] = {}
        self._waiting = False
        self._stopping = False
        self._consumer: Consumer | None = None
        self._last_moment = 0.0

        # The rest belongs to the intake thread alone.
        self._unclaimed = Unclaimed(broker, backend)
        self._held: set[Receipt] = set()
        self._uncertain: set[Receipt] = set()
        self._revoked = RevokedIds()
        self._rested = Rested()
        self._renew_at = 0.0
        self._deliveries = Deliveries(plan.stall_timeout, plan.renewal)
        self._moved = True
        self.claimed = self.rescued = self.claims_lost = 0
        """Messages claimed; those of them whose earlier claim ended without an outcome; claims that
        turned out to be no longer ours. Counted by this thread, read by any."""
        self.steps = 0
        """Counts on while this thread is alive and not stuck in a call."""
        self.gave_up = False
        """The store has messages and delivers none: the supervisor then ends the worker."""
        self.on_refused: Callable[[Peek, Drop | SetAside], None] | None = None
        """Told, on the intake thread, of what is never run. Set before ``start``."""
        self.connected = threading.Event()
        self.failure: BaseException | None = None
        """What ended the thread, if not a stop; the supervisor then ends the worker."""

    # --- for the main thread ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def post(
        self,
        settlements: Sequence[Settlement],
        loose: Sequence[Effects],
        *,
        free: int,
        active: int,
        processed: dict[str, int],
    ) -> None:
        """Hand over what ended, and say how many assignments more can be taken."""
        with self._lock:
            self._settlements.extend(settlements)
            self._loose.extend(loose)
            grown = free > self._free
            self._free = free
            self._active = active
            self._processed = processed
            if self._waiting and (settlements or loose or grown):
                self._wake()

    def take(self) -> Taken:
        """Return what came in since the last call."""
        with self._lock:
            taken = Taken(
                tuple(self._admitted),
                tuple(self._escaped),
                tuple(self._news),
                tuple(self._notices.waiting),
            )
            self._notices.waiting.clear()
            self._free -= len(self._admitted)
            self._admitted.clear()
            self._escaped.clear()
            self._news.clear()
            return taken

    def revoked_ids(self) -> Sequence[str]:
        """Return the ids that must not run, the oldest first. Any thread."""
        return self._revoked.latest()

    def ask_to_stop(self) -> None:
        """Have the next steps claim nothing and settle what is left. Any thread."""
        with self._lock:
            self._stopping = True
            self._free = 0
            self._wake()

    def stop(self, timeout: float) -> bool:
        """Settle what is posted, return every claim left, and end.

        Tries as long as ``timeout`` while the broker is away. False when something is left then:
        the claims are rescued by other workers when the lease ends, and what ran runs again.
        """
        with self._lock:
            self._last_moment = self._clock.monotonic() + timeout
        self.ask_to_stop()
        self._thread.join(timeout)
        with self._lock:
            return not self._something_left()

    def _something_left(self) -> bool:
        return bool(self._settlements or self._loose or self._held)

    def _wake(self) -> None:
        if self._consumer is not None:
            self._consumer.wake()
        self._bell.notify_all()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = BACKOFF_FIRST
        try:
            while True:
                try:
                    self.connect()
                    delay = BACKOFF_FIRST
                    while not self.step():
                        pass
                    return
                except OperationalError as error:
                    self.connected.clear()
                    if self._pause(error, delay):
                        return
                    delay = min(self._longest_pause(), delay * 2)
        except BaseException as error:  # told to the supervisor, which ends the worker
            if isinstance(error, UsageError):  # its sentence says what to change
                logger.critical("The worker cannot go on: %s", error)
            else:
                logger.critical("The intake thread ended: %r", error, exc_info=True)
            self.failure = error
        finally:
            self._notify()

    def connect(self) -> None:
        """Open a consumer, or bring the present one up to date after a lost connection.

        Called by the intake thread, or in its place by whoever steps. Raises OperationalError.
        """
        self.steps += 1
        if self._consumer is None:
            self._broker.declare(self._plan.queues)
            if self._plan.purge:
                self._purge()
            consumer = self._broker.open_consumer(
                self._plan.queues,
                presence=self._presence,
                lease=self._plan.lease,
                results=self._backend,
            )
            with self._lock:
                self._consumer = consumer
        self._renew()
        if not self.connected.is_set():
            logger.info("Connected to %s", self._broker.ping())
            self.connected.set()
            self._notify()

    def _purge(self) -> None:
        for queue in self._plan.queues:
            count = self._broker.purge(queue.name)
            logger.warning("Purged %d messages from queue %s", count, queue.name)

    def _longest_pause(self) -> float:
        return min(BACKOFF_MOST, self._plan.lease / HELD_SHARE) if self._held else BACKOFF_MOST

    def _pause(self, error: OperationalError, delay: float) -> bool:
        """Wait before trying again. True when it is time to end instead."""
        with self._lock:
            self._waiting = False
            if self._stopping:
                left = self._last_moment - self._clock.monotonic()
                if left <= 0 or not self._something_left():
                    return True
                delay = min(delay, BACKOFF_FIRST, left)
        logger.error("%s Trying again in %.1f s.", sentence(error), delay)
        with self._lock:
            self._bell.wait(delay)
        return False

    def step(self, longest: float | None = None) -> bool:
        """Settle what is posted and claim what there is credit for; wait where there is nothing.

        Waits until the leases must be renewed, or ``longest`` seconds. Returns True when it is
        stopped and done. Raises OperationalError; what was to be settled is kept then.
        """
        self.steps += 1
        with self._lock:
            settlements, self._settlements = self._settlements, []
            loose, self._loose = self._loose, []
            credit = max(0, self._free - len(self._admitted))
            stopping = self._stopping
            if stopping:
                loose += self._orphans()
            idle = not settlements and not loose and not stopping
            self._waiting = idle
        if self._clock.monotonic() >= self._renew_at:
            self._keep_on_failure(settlements, loose, self._renew_and_look)
        if loose:
            self._keep_on_failure(settlements, loose, lambda: self._unclaimed.perform(loose))
        deliveries: Sequence[Delivery] = ()
        if settlements:
            deliveries = self._exchange(settlements, credit)
        elif idle:  # asked before ``loose`` was performed, and so emptied: only then are we woken
            deliveries = self._receive(credit, longest)
        with self._lock:
            self._waiting = False
        self._moved = self._moved or bool(deliveries) or not credit
        # What was revoked before a claim is known with it, and must be heard before it is admitted.
        self._hear_revocations()
        if deliveries:
            self.claimed += len(deliveries)
            self._admit(deliveries)
        if stopping and not settlements and not loose:
            self._close()
            return True
        return False

    def _orphans(self) -> list[Effects]:
        """What was acknowledged for the main thread, which takes nothing any more: send it again.

        What is not acknowledged goes back when the consumer is closed.
        """
        orphans = [self._endings.sent_again(a.delivery) for a in self._admitted if a.acked]
        self._admitted.clear()
        return orphans

    def _receive(self, credit: int, longest: float | None) -> Sequence[Delivery]:
        assert self._consumer is not None
        timeout = max(0.0, self._renew_at - self._clock.monotonic())
        return self._consumer.receive(credit, timeout if longest is None else min(timeout, longest))

    def _renew_and_look(self) -> None:
        self._renew()
        moved, self._moved = self._moved, False
        if moved:
            self._deliveries.moving()
        elif self._deliveries.is_due(self._clock.monotonic()):
            self._look_what_waits()

    def _look_what_waits(self) -> None:
        """Nothing was claimed for free slots: find out whether there was anything to claim."""
        names = [queue.name for queue in self._plan.queues]
        waiting = sum(each.ready for each in self._broker.stats(names))
        stall = self._deliveries.looked(self._clock.monotonic(), waiting)
        words = waiting, ", ".join(names), self._plan.stall_timeout
        if stall is Stall.CONNECT_ANEW:
            logger.error(
                "%d messages wait in %s, slots are free, and nothing could be claimed for %g s:"
                " connecting anew",
                *words,
            )
            assert self._consumer is not None
            self._consumer.reconnect()
            self._renew()
        elif stall is Stall.GIVE_UP:
            logger.critical(
                "The worker ends: %d messages wait in %s, slots are free, and nothing could be"
                " claimed for twice %g s (worker_stall_timeout), over a new connection either."
                " Your service manager should start it again; `umbel doctor` looks at the broker",
                *words,
            )
            self.gave_up = True
            self._notify()

    def _exchange(self, settlements: list[Settlement], credit: int) -> Sequence[Delivery]:
        assert self._consumer is not None
        try:
            exchange = self._consumer.exchange(settlements, credit)
        except OperationalError:
            # It may have happened, the answer being lost. The same settlements go again: what is
            # refused then was performed, or escaped during the outage; either way it is not ours.
            self._uncertain.update(s.receipt for s in settlements)
            with self._lock:
                self._settlements[:0] = settlements
            raise
        lost = set(exchange.lost)
        for settlement in settlements:
            if settlement.verdict is not None:
                self._held.discard(settlement.receipt)
        if lost:
            log_refused(settlements, lost - self._uncertain)
            self._note_escaped(lost - self._uncertain)
        self._uncertain.clear()
        return exchange.deliveries

    def _keep_on_failure(
        self,
        settlements: list[Settlement],
        loose: list[Effects],
        action: Callable[[], None],
    ) -> None:
        """Do something; if the connection is lost over it, put back what was taken to be done."""
        try:
            action()
        except OperationalError:
            with self._lock:
                self._settlements[:0] = settlements
                self._loose[:0] = loose
            raise

    def _note_escaped(self, receipts: set[Receipt]) -> None:
        self._held -= receipts
        if receipts:
            self.claims_lost += len(receipts)
            self._rested.forget()
            with self._lock:
                self._escaped.extend(receipts)
            self._notify()

    # --- leases -----------------------------------------------------------------------------------

    def _renew(self) -> None:
        assert self._consumer is not None
        with self._lock:
            presence = msgspec.structs.replace(
                self._presence, active=self._active, processed=dict(self._processed)
            )
        lost = self._consumer.extend(tuple(self._held), presence)
        self._renew_at = self._clock.monotonic() + self._plan.renewal
        self._note_escaped(set(lost) - self._uncertain)

    def _close(self) -> None:
        self._unclaimed.close()
        assert self._consumer is not None
        self._consumer.close()
        self._held.clear()

    # --- what comes in ----------------------------------------------------------------------------

    def _admit(self, deliveries: Sequence[Delivery]) -> None:
        now = self._clock.now()
        admitted: list[Admitted] = []
        early: list[Admitted] = []
        ended: list[Settlement] = []
        chatty = logger.isEnabledFor(logging.INFO)
        revoked = self._revoked.known
        for delivery in deliveries:
            self._held.add(delivery.receipt)
            self.rescued += delivery.redelivered
            try:
                peek = envelope.peek(delivery.raw)
                decision = admit(
                    peek,
                    count=delivery.count,
                    now=now,
                    plan=self._plan,
                    revoked=revoked,
                    rested=peek.eta is not None and self._rested.take(peek.id, peek.eta),
                )
                if not isinstance(decision, Run):
                    self._decline(delivery, peek, decision)
                    ended.append(self._endings.decided(delivery, peek, decision, now))
                    continue
            except Exception as error:
                logger.error(
                    "A message in queue %s cannot be read and is set aside: %s",
                    delivery.queue,
                    error,
                    exc_info=not isinstance(error, WireError),
                )
                ended.append(self._endings.undecodable(delivery, error))
                with self._lock:
                    self._notices.unreadable(delivery, error)
                continue
            if chatty:
                logger.info("Task %s[%s] received", peek.shadow or peek.task, peek.id)
            if decision.traits.early_ack:
                early.append(Admitted(delivery, peek, decision, acked=True))
            else:
                admitted.append(Admitted(delivery, peek, decision, acked=False))
        with self._lock:
            self._admitted.extend(admitted)
            self._settlements.extend(ended)
        if early:
            self._acknowledge(early)
        self._notify()

    def _decline(self, delivery: Delivery, peek: Peek, decision: Rest | Drop | SetAside) -> None:
        """Remember, and say, why it does not run now."""
        log_decision(peek, decision)
        if isinstance(decision, Rest):
            if decision.until == peek.eta:
                self._rested.note(peek.id, decision.until)
            return
        if self.on_refused is not None:
            self.on_refused(peek, decision)
        with self._lock:
            self._notices.refused(delivery, decision.error)

    def _acknowledge(self, early: list[Admitted]) -> None:
        """Acknowledge the early ones before they run; what was no longer ours is not run.

        If the connection is lost over it nobody knows whether they were acknowledged. They are
        not run: those that were not return to their queue by the next renewal, the others are
        lost, which is what ``at most once`` allows and ``acks_late`` prevents.
        """
        assert self._consumer is not None
        acks = [Settlement(each.delivery.receipt, Ack()) for each in early]
        self._held.difference_update(ack.receipt for ack in acks)
        try:
            lost = set(self._consumer.exchange(acks, 0).lost)
        except OperationalError:
            logger.warning(
                "%d tasks with early acknowledgement were claimed while the connection broke;"
                " they may be lost",
                len(acks),
            )
            raise
        with self._lock:
            self._admitted.extend(a for a in early if a.delivery.receipt not in lost)

    def _hear_revocations(self) -> None:
        assert self._consumer is not None
        news = self._consumer.revocations()
        if not news:
            return
        self._revoked.add(revocation.task_id for revocation in news)
        with self._lock:
            self._news.extend(news)
        self._notify()
