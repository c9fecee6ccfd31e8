"""Executors as processes: forked from the template, one private socket each, no shared locks.

Serves ``prefork`` (N processes of one slot) and, with several slots a process, ``threads``,
``asyncio``, ``gevent`` and ``eventlet``. Owned by the supervisor's main thread; the only calls from
elsewhere are ``wake``.
"""

from __future__ import annotations

import logging
import selectors
import signal
import socket
from collections.abc import Mapping, Sequence

from umbel.clock import Clock
from umbel.model.assignment import (
    Assignment,
    Began,
    Cancel,
    Interrupt,
    Leaving,
    PoolEvent,
    Ready,
    Recall,
    Report,
    Returned,
    Stop,
    Word,
)
from umbel.model.pool_condition import PoolCondition
from umbel.ports import Pool
from umbel.worker.frames import read_some
from umbel.worker.plan import Forked, Gone, TemplateWord
from umbel.worker.pools.bell import Bell
from umbel.worker.pools.dealing import deal, depths
from umbel.worker.pools.killing import kill_with_children, send_signal
from umbel.worker.pools.seats import (
    LEAVE_PATIENCE,
    LIVE,
    RECALL_AFTER,
    STATUS_PATIENCE,
    Pace,
    Refill,
    Seat,
    SeatState,
    condition_of,
    next_look,
)
from umbel.worker.template_link import TemplateGone, TemplateLink

logger = logging.getLogger("umbel.worker")

NEIGHBOURS_GRACE = 1.0
"""Seconds that tasks beside one that must be ended by force have to end by themselves."""
CLOSE_PATIENCE = 2.0
"""Seconds idle executors have to end by themselves at the very end."""


class ProcessPool(Pool):
    """Seats filled by executor processes, refilled when one dies or retires.

    ``in_order``: executors of one slot that do not say what they begin (``slots.single``).
    """

    def __init__(
        self,
        template: TemplateLink,
        *,
        processes: int,
        slots: int,
        in_order: bool,
        lookahead: float,
        lookahead_cap: int,
        start_timeout: float,
        clock: Clock,
    ) -> None:
        self._template = template
        self._wanted = processes
        self._slots = slots
        self._in_order = in_order
        self._lookahead = lookahead
        self._cap = lookahead_cap
        self._start_timeout = start_timeout
        self._clock = clock
        self._pace = Pace()
        self._refill = Refill()
        self._seats: dict[int, Seat] = {}
        self._next_seat = 0
        self._where: dict[int, Seat] = {}
        self._selector = selectors.DefaultSelector()
        self._bell = Bell()
        self._events: list[PoolEvent] = []
        self._ending = False
        """The worker ends: executors that come up now are told so."""
        self._closing = False
        self._closed = False
        self._template_gone: TemplateGone | None = None
        self._told_gone = False
        self.restarts = 0
        """How many executors were replaced because they died."""
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._selector.register(template.sock, selectors.EVENT_READ, template)

    # --- the port ---------------------------------------------------------------------------------

    def start(self) -> None:
        self._add_seats(self._wanted)

    def capacity(self) -> int:
        return sum(depth for _, depth in self._depths())

    def room(self) -> int:
        return sum(max(0, depth - len(seat.held)) for seat, depth in self._depths())

    def submit(self, assignments: Sequence[Assignment]) -> None:
        now = self._clock.monotonic()
        self._pace.note_sizes(assignments)
        shares = deal(assignments, self._depths())
        if not shares:
            self._events.append(Returned(tuple(each.id for each in assignments)))
        for seat, share in shares:
            idle = not seat.held
            if not seat.give(share, now):
                self._events.append(Returned(tuple(each.id for each in share)))
                continue
            for assignment in share:
                self._where[assignment.id] = seat
            self._watch_writes(seat)
            if idle:
                self._note_begun(seat)

    def poll(self, timeout: float) -> Sequence[PoolEvent]:
        if self._template_gone is not None and not (self._told_gone or self._closing):
            self._told_gone = True
            raise self._template_gone
        for key, mask in self._selector.select(0 if self._events else self._patience(timeout)):
            if isinstance(key.data, Seat):
                self._serve(key.data, mask)
            elif key.data is None:
                self._bell.drain()
            else:
                self._hear_template()
        self._look_after()
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        self._bell.ring()

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:
        seat = self._where.get(assignment_id)
        if seat is None or seat.pid is None or seat.state is SeatState.DEAD:
            return False
        if how is not Interrupt.HARD:
            return self._order(seat, Cancel(assignment_id, how, reason))
        self._hear(seat, seat.hear_kept())
        if assignment_id not in seat.held:
            return False
        seat.doomed.add(assignment_id)
        if seat.runs(assignment_id):
            self._condemn(seat)
            return True
        # It waits behind another, which must not die for it.
        return self._order(seat, Recall())

    def running(self) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for seat in self._seats.values():
            if seat.pid is None or seat.state is SeatState.DEAD:
                continue
            self._hear(seat, seat.hear_kept())
            found.update({each: seat.pid for each in seat.held if seat.runs(each)})
        return found

    def pids(self) -> Sequence[int]:
        return [seat.pid for seat in self._seats.values() if seat.pid is not None]

    def condition(self) -> PoolCondition:
        able = self._template_gone is None
        return condition_of(self._seats.values(), self._wanted, self.restarts, able)

    def resize(self, change: int) -> int:
        before, self._wanted = self._wanted, max(1, self._wanted + change)
        surplus = before - self._wanted
        for seat in sorted(self._live(), key=lambda one: len(one.held))[: max(0, surplus)]:
            self._dismiss(seat)
        return self._wanted

    def renew(self) -> None:
        for seat in self._live():
            self._dismiss(seat)

    def _dismiss(self, seat: Seat) -> None:
        """Let it finish what it runs and end; another takes its place if one is wanted."""
        seat.dismissed = seat.state is SeatState.READY
        seat.state = SeatState.LEAVING
        seat.since = self._clock.monotonic()
        self._order(seat, Stop())

    def recall(self) -> None:
        self._ending = True
        for seat in list(self._seats.values()):
            seat.recalled = bool(seat.held)
            self._order(seat, Recall(ending=True))

    def stop(self) -> None:
        self._closing = True
        for seat in self._seats.values():
            self._kill(seat)

    def close(self) -> None:
        if self._closed:
            return
        self._closing = self._closed = True
        for seat in list(self._seats.values()):
            self._order(seat, Stop())
        deadline = self._clock.monotonic() + CLOSE_PATIENCE
        while self._seats and self._clock.monotonic() < deadline:
            self.poll(0.05)
        self.stop()
        for seat in self._seats.values():
            if seat.state is not SeatState.DEAD:
                seat.close()
        self._selector.close()
        self._bell.close()

    # --- seats ------------------------------------------------------------------------------------

    def _depths(self) -> list[tuple[Seat, int]]:
        """Every seat that takes work, and how many assignments it may hold now."""
        limits = self._slots, self._lookahead, self._cap
        return depths(self._seats.values(), self._pace, limits, self._clock.monotonic())

    def _note_begun(self, seat: Seat) -> None:
        """An executor of one slot works in order, so what begins is known without its word."""
        begun = seat.begun_to_tell()
        if begun is not None:
            self._events.append(Began(begun, None))

    def _add_seats(self, count: int) -> None:
        for _ in range(count):
            if self._template_gone is not None or not self._add_seat():
                return

    def _add_seat(self) -> bool:
        """Order one more executor. False when it cannot be now."""
        self._next_seat += 1
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        seat = Seat(self._next_seat, ours, self._slots, in_order=self._in_order)
        ordered = False
        try:
            ordered = self._template.fork(self._next_seat, theirs)
        except TemplateGone as error:
            self._lost_template(error)
        finally:
            theirs.close()
        if not ordered:
            seat.close()
            return False
        self._seats[seat.number] = seat
        self._selector.register(ours, selectors.EVENT_READ, seat)
        return True

    def _order(self, seat: Seat, order: Recall | Stop | Cancel) -> bool:
        """Send an order that a busy executor must hear now: the signal makes it look."""
        if not seat.send((order,)):
            return False
        self._watch_writes(seat)
        if self._in_order and seat.pid is not None and seat.state is not SeatState.STARTING:
            send_signal(seat.pid, signal.SIGUSR1)
        return True

    def _watch_writes(self, seat: Seat) -> None:
        if seat.state is SeatState.DEAD:
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if seat.writer.blocked else 0)
        if self._selector.get_key(seat.sock).events != wanted:
            self._selector.modify(seat.sock, wanted, seat)

    # --- ending one by force ----------------------------------------------------------------------

    def _condemn(self, seat: Seat) -> None:
        """Something in there must end; what runs beside it gets a moment to end by itself."""
        if seat.kill_at is not None:
            return
        now = self._clock.monotonic()
        seat.kill_at = now
        if not seat.begun - seat.doomed:
            seat.deaf = True  # nothing more for one that is about to die
            self._kill(seat)
            return
        seat.kill_at = now + NEIGHBOURS_GRACE
        seat.state = SeatState.LEAVING
        seat.since = now
        self._order(seat, Stop())

    def _kill(self, seat: Seat) -> None:
        if seat.pid is not None and seat.state is not SeatState.DEAD:
            seat.killed_for = frozenset(seat.doomed)
            kill_with_children(seat.pid)

    # --- what is heard ----------------------------------------------------------------------------

    def _serve(self, seat: Seat, mask: int) -> None:
        if seat.state is SeatState.DEAD:
            return  # the template's word came first in this round
        if mask & selectors.EVENT_WRITE:
            seat.flush()
            self._watch_writes(seat)
        if mask & selectors.EVENT_READ:
            data = read_some(seat.sock)
            if data is None:
                return
            if not data:
                self._died(seat)
                return
            self._hear(seat, seat.reader.feed(data))

    def _hear(self, seat: Seat, words: Sequence[Word]) -> None:
        now = self._clock.monotonic()
        for word in words:
            if isinstance(word, Report):
                if not seat.finished(word, now):
                    continue
                del self._where[word.id]
                self._pace.note(word.seconds)
                self._events.append(word)
                self._note_begun(seat)
            elif isinstance(word, Began):
                seat.began(word.id)
                self._events.append(word)
            elif isinstance(word, Returned):
                for assignment_id in word.ids:
                    seat.forget(assignment_id)
                    self._where.pop(assignment_id, None)
                self._events.append(word)
            elif isinstance(word, Ready):
                seat.pid = word.pid
                if seat.state is SeatState.STARTING:
                    seat.state = SeatState.READY
                self._refill.succeeded()
                if self._ending:
                    self._order(seat, Recall(ending=True))
            else:
                self._retire(seat, word)

    def _retire(self, seat: Seat, word: Leaving) -> None:
        logger.debug("Executor %s retires: %s", seat.pid, word.why)
        seat.state = SeatState.LEAVING
        seat.since = self._clock.monotonic()
        # The answer that it waits for: nothing more comes, so nothing is lost on the way.
        self._order(seat, Stop())

    def _hear_template(self) -> None:
        try:
            words = self._template.hear()
        except TemplateGone as error:
            self._selector.unregister(self._template.sock)
            self._lost_template(error)
            return
        for word in words:
            self._hear_about(word)

    def _lost_template(self, error: TemplateGone) -> None:
        self._template_gone = self._template_gone or error

    def _hear_about(self, word: TemplateWord) -> None:
        match word:
            case Forked(seat=number, pid=pid):
                seat = self._seats.get(number)
                if seat is not None:
                    seat.pid = pid
                    seat.since = self._clock.monotonic()
            case Gone(pid=pid, status=status):
                for seat in self._seats.values():
                    if seat.pid == pid:
                        seat.status = status
                        self._died(seat)

    # --- what becomes of executors ----------------------------------------------------------------

    def _died(self, seat: Seat) -> None:
        """Its socket ended, or the template reaped it (a child of its own may hold the socket)."""
        if seat.state is SeatState.DEAD:
            return
        while data := read_some(seat.sock):  # its last words
            self._hear(seat, seat.reader.feed(data))
        self._hear(seat, seat.hear_kept())
        self._selector.unregister(seat.sock)
        seat.close()
        seat.died(self._clock.monotonic())
        if seat.lost and seat.pid is not None:
            kill_with_children(seat.pid)  # what its tasks had started

    def _patience(self, timeout: float) -> float:
        """At most until something must be looked after: nobody wakes us for that."""
        if timeout <= 0:
            return 0.0
        now = self._clock.monotonic()
        moment = next_look(self._seats.values(), self._start_timeout)
        if moment is not None:
            timeout = min(timeout, max(0.001, moment - now + 0.001))
        if not self._closing and len(self._live()) < self._wanted:
            timeout = min(timeout, self._refill.wait(now) + 0.01)
        return timeout

    def _look_after(self) -> None:
        now = self._clock.monotonic()
        for seat in list(self._seats.values()):
            match seat.state:
                case SeatState.READY:
                    self._look_after_ready(seat, now)
                case SeatState.STARTING:
                    self._look_after_starting(seat, now)
                case SeatState.LEAVING:
                    self._look_after_leaving(seat, now)
                case SeatState.DEAD:
                    if seat.status is not None or now - seat.died_at > STATUS_PATIENCE:
                        self._bury(seat, now)
        if not self._closing and self._refill.wait(now) <= 0.0:
            self._add_seats(self._wanted - len(self._live()))

    def _look_after_ready(self, seat: Seat, now: float) -> None:
        if seat.doomed and any(seat.runs(each) for each in seat.doomed):
            self._condemn(seat)
        elif len(seat.held) > seat.slots and not seat.recalled and seat.stuck(now, RECALL_AFTER):
            self._hear(seat, seat.hear_kept())
            if len(seat.held) > seat.slots:
                seat.recalled = True
                self._order(seat, Recall())

    def _look_after_starting(self, seat: Seat, now: float) -> None:
        if seat.since is None or now - seat.since < self._start_timeout:
            return
        logger.error(
            "Executor %s did not come up in %g s (worker_proc_alive_timeout), perhaps for a"
            " worker_process_init handler that waits; it is killed",
            seat.pid,
            self._start_timeout,
        )
        seat.since = now
        self._kill(seat)

    def _look_after_leaving(self, seat: Seat, now: float) -> None:
        if seat.kill_at is not None:
            if now >= seat.kill_at or (seat.doomed and not seat.begun - seat.doomed):
                if seat.doomed:
                    self._kill(seat)
                seat.kill_at = None
        elif seat.held:
            seat.since = now
        elif seat.since is not None and now - seat.since > LEAVE_PATIENCE:
            seat.since = now
            logger.warning("Executor %s does not end by itself; it is killed", seat.pid)
            self._kill(seat)

    def _bury(self, seat: Seat, now: float) -> None:
        """Say what is lost and what never began; the seat is filled again by ``_look_after``."""
        del self._seats[seat.number]
        for assignment_id in seat.held:
            self._where.pop(assignment_id, None)
        self._events.extend(seat.losses())
        if self._closing or seat.left:
            return
        self.restarts += 1
        if seat.was_ready:
            if not seat.lost:
                logger.warning("Executor %s ended with status %s", seat.pid, seat.status)
            return
        delay = self._refill.failed(now)
        logger.error(
            "Executor %s ended while it started (status %s); the next one is started in %.1f s",
            seat.pid,
            seat.status,
            delay,
        )

    def _live(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.state in LIVE]
