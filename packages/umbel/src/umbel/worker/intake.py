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
from datetime import datetime

from umbel.clock import Clock
from umbel.errors import OperationalError, UsageError
from umbel.model.delivery import Delivery, Effects, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Queue
from umbel.model.revocation import Revocation
from umbel.ports import Broker, ResultBackend
from umbel.wire import envelope
from umbel.wire.envelope import Peek
from umbel.worker.admission import Drop, Run, SetAside, admit
from umbel.worker.endings import Endings
from umbel.worker.gatekeeping import Gatekeeper
from umbel.worker.intake_log import log_received, log_refused, sentence
from umbel.worker.notices import Notices
from umbel.worker.plan import WorkerPlan
from umbel.worker.progress import Deliveries, Stall
from umbel.worker.rates import Rates
from umbel.worker.reception import Admitted, Reception, Taken
from umbel.worker.tenure import Tenure
from umbel.worker.unclaimed import Unclaimed

logger = logging.getLogger("umbel.worker")

BACKOFF_FIRST, BACKOFF_MOST = 0.1, 5.0
"""Seconds between tries to reach the broker, at first and in the end."""
BACKLOG_EVERY = 1.0
"""Seconds between looks at what waits in the queues, for a worker that scales by it."""
HELD_SHARE = 10
"""With claims in hand, tries are at most this part of the lease apart: an outage must not take much
more of the lease than it lasts."""


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
        self._plan = plan
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
        self._ended: list[Receipt] = []
        self._news: list[Revocation] = []
        self._notices = Notices(plan)
        self._free = 0
        self._active = 0
        self._processed: dict[str, int] = {}
        self._waiting = False
        self._stopping = False
        self._last_moment = 0.0
        self.queues: tuple[Queue, ...] = plan.queues
        """What this worker takes from. Replaced as a whole; any thread may look."""
        self._wanted_queues: tuple[Queue, ...] | None = None
        self.backlog: int | None = None
        """Messages that wait in the queues; None where nobody looks (``watch_backlog``)."""
        self._backlog_at: float | None = None

        # The rest belongs to the intake thread alone.
        self._unclaimed = Unclaimed(broker, backend)
        self._tenure = Tenure(broker, backend, plan, presence)
        self._gatekeeper = Gatekeeper(plan, broker, self._tenure)
        self._reception = Reception(
            plan, clock, self._notices, self._lock, step=broker.capabilities.delay_step
        )
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
        ended: Sequence[Receipt] = (),
    ) -> None:
        """Hand over what ended, and say how many assignments more can be taken.

        ``ended``: claims that hold places under limits no more, once the rest is settled.
        """
        with self._lock:
            self._ended.extend(ended)
            self._settlements.extend(settlements)
            self._loose.extend(loose)
            grown = free > self._free
            self._free = free
            self._active = active
            self._processed = processed
            if self._waiting and (settlements or loose or grown or ended):
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
        return self._reception.revoked.latest()

    @property
    def rates(self) -> Rates:
        """How often tasks may run here. Any thread."""
        return self._reception.rates

    def tell_refused(self, tell: Callable[[Peek, Drop | SetAside], None]) -> None:
        """Have this told, on the intake thread, of what is never run. Before ``start``."""
        self._reception.on_refused = tell

    def change_queues(self, queues: Sequence[Queue]) -> None:
        """Take from these from the next step on, and from no others. Any thread."""
        with self._lock:
            self.queues = self._wanted_queues = tuple(queues)
            self._wake()

    def watch_backlog(self) -> None:
        """Keep ``backlog`` up to date. Before ``start``."""
        self.backlog, self._backlog_at = 0, 0.0

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
        return bool(self._settlements or self._loose or self._tenure.holds_any())

    def _wake(self) -> None:
        if self._tenure.consumer is not None:
            self._tenure.consumer.wake()
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
        if self._tenure.consumer is None:
            self._tenure.open(self.queues, purge=self._plan.purge)
        self._renew()
        if not self.connected.is_set():
            logger.info("Connected to %s", self._broker.ping())
            self.connected.set()
            self._notify()

    def _longest_pause(self) -> float:
        held = self._tenure.holds_any()
        return min(BACKOFF_MOST, self._plan.lease / HELD_SHARE) if held else BACKOFF_MOST

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
        if self._ended or self._wanted_queues is not None or self._backlog_at is not None:
            self._see_to_the_rest()
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

    def _see_to_the_rest(self) -> None:
        """What is seldom asked for. Places under limits are free as soon as the run is over."""
        if self._ended:
            with self._lock:
                ended, self._ended = self._ended, []
            self._gatekeeper.release(ended)
        if self._wanted_queues is not None:
            self._change_queues()
        if self._backlog_at is not None and self._clock.monotonic() >= self._backlog_at:
            self.backlog = self._waiting_to_be_claimed()
            self._backlog_at = self._clock.monotonic() + BACKLOG_EVERY

    def _change_queues(self) -> None:
        with self._lock:
            queues = None if self._stopping else self._wanted_queues
        if queues is not None:
            self._tenure.change(queues)
            self._renew_at = 0.0
        with self._lock:
            if self._wanted_queues == queues:
                self._wanted_queues = None

    def _waiting_to_be_claimed(self) -> int:
        stats = self._broker.stats([queue.name for queue in self.queues])
        return sum(each.ready for each in stats if each.paused_since is None)

    def _receive(self, credit: int, longest: float | None) -> Sequence[Delivery]:
        assert self._tenure.consumer is not None
        until = self._renew_at
        if self._backlog_at is not None:
            until = min(until, self._backlog_at)
        timeout = max(0.0, until - self._clock.monotonic())
        if longest is not None:
            timeout = min(timeout, longest)
        return self._tenure.consumer.receive(credit, timeout)

    def _renew_and_look(self) -> None:
        self._renew()
        moved, self._moved = self._moved, False
        if moved:
            self._deliveries.moving()
        elif self._deliveries.is_due(self._clock.monotonic()):
            self._look_what_waits()

    def _look_what_waits(self) -> None:
        """Nothing was claimed for free slots: find out whether there was anything to claim."""
        waiting = self._waiting_to_be_claimed()
        stall = self._deliveries.looked(self._clock.monotonic(), waiting)
        self._tenure.stalled(stall, waiting, [queue.name for queue in self.queues])
        if stall is Stall.CONNECT_ANEW:
            self._renew()
        elif stall is Stall.GIVE_UP:
            self.gave_up = True
            self._notify()

    def _exchange(self, settlements: list[Settlement], credit: int) -> Sequence[Delivery]:
        tenure, lost = self._tenure, set[Receipt]()
        assert tenure.consumer is not None
        try:
            ours: Sequence[Settlement] = settlements
            if tenure.retiring.retired:
                ours, lost = tenure.retiring.settle(settlements)
            exchange = tenure.consumer.exchange(ours, credit)
        except OperationalError:
            # It may have happened, the answer being lost. The same settlements go again: what is
            # refused then was performed, or escaped during the outage; either way it is not ours.
            tenure.uncertain.update(s.receipt for s in settlements)
            with self._lock:
                self._settlements[:0] = settlements
            raise
        lost.update(exchange.lost)
        ended = {each.receipt for each in settlements if each.verdict is not None}
        tenure.held -= ended
        if tenure.retiring.retired:
            tenure.retiring.drop(ended)
        if lost:
            log_refused(settlements, lost - tenure.uncertain)
            self._note_escaped(tenure.forget(lost))
        tenure.uncertain.clear()
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
        if receipts:
            self.claims_lost += len(receipts)
            self._reception.rested.forget()
            with self._lock:
                self._escaped.extend(receipts)
            self._notify()

    # --- leases -----------------------------------------------------------------------------------

    def _renew(self) -> None:
        with self._lock:
            active, processed = self._active, self._processed
        lost = self._tenure.renew(active, processed)
        self._gatekeeper.sweep()
        self._renew_at = self._clock.monotonic() + self._plan.renewal
        self._note_escaped(lost)

    def _close(self) -> None:
        self._unclaimed.close()
        self._gatekeeper.close()
        self._tenure.close()

    # --- what comes in ----------------------------------------------------------------------------

    def _admit(self, deliveries: Sequence[Delivery]) -> None:
        now = self._clock.now()
        admitted: list[Admitted] = []
        early: list[Admitted] = []
        limited: list[Admitted] = []
        ended: list[Settlement] = []
        chatty = logger.isEnabledFor(logging.INFO)
        desk = self._reception
        for delivery in deliveries:
            self._tenure.held.add(delivery.receipt)
            self.rescued += delivery.redelivered
            try:
                peek = envelope.peek(delivery.raw)
                decision = admit(
                    peek,
                    count=delivery.count,
                    now=now,
                    plan=self._plan,
                    # In few programs is anything revoked by its stamps.
                    revoked=(peek.id,)
                    if desk.stamps.known and desk.stamps.hit(delivery.raw)
                    else desk.revoked.known,
                    rested=peek.eta is not None and desk.rested.take(peek.id, peek.eta),
                )
                if desk.rates.buckets and isinstance(decision, Run):
                    decision = desk.rated(peek.task, decision, now)
                if not isinstance(decision, Run):
                    ended.append(desk.declined(delivery, peek, decision, now))
                    continue
            except Exception as error:  # noqa: BLE001 - logged, and set aside with its message
                ended.append(desk.unreadable(delivery, error))
                continue
            if chatty:
                log_received(peek)
            acked = decision.traits.early_ack
            chosen = limited if decision.traits.limits else early if acked else admitted
            chosen.append(Admitted(delivery, peek, decision, acked))
        with self._lock:
            self._admitted.extend(admitted)
            self._settlements.extend(ended)
        if limited:
            early += self._let_in(limited, now)
        if early:
            self._acknowledge(early)
        self._notify()

    def _let_in(self, limited: list[Admitted], now: datetime) -> list[Admitted]:
        """Ask for places under limits; return who has one and is to be acknowledged first."""
        let_in, later = self._gatekeeper.check(limited, now)
        with self._lock:
            self._admitted.extend(each for each in let_in if not each.acked)
            self._settlements.extend(later)
        return [each for each in let_in if each.acked]

    def _acknowledge(self, early: list[Admitted]) -> None:
        """Acknowledge the early ones before they run; what was no longer ours is not run.

        If the connection is lost over it nobody knows whether they were acknowledged. They are
        not run: those that were not return to their queue by the next renewal, the others are
        lost, which is what ``at most once`` allows and ``acks_late`` prevents.
        """
        try:
            lost = self._tenure.acknowledge([each.delivery.receipt for each in early])
        except OperationalError:
            with self._lock:
                self._ended.extend(each.delivery.receipt for each in early)
            raise
        with self._lock:
            self._ended.extend(lost)
            self._admitted.extend(a for a in early if a.delivery.receipt not in lost)

    def _hear_revocations(self) -> None:
        assert self._tenure.consumer is not None
        news = self._tenure.consumer.revocations()
        if not news:
            return
        self._reception.hear_revoked(news)
        with self._lock:
            self._news.extend(news)
        self._notify()
