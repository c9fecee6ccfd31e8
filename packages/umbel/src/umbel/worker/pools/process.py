"""Executors as processes: forked from the template, one private socket each, no shared locks.

Serves ``prefork`` (N processes of one slot) and, with several slots a process, ``threads``,
``asyncio``, ``gevent`` and ``eventlet``. Owned by the supervisor's main thread; the only calls from
elsewhere are ``wake``.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
from collections.abc import Iterator, Sequence

from umbel.clock import Clock
from umbel.model.assignment import (
    Assignment,
    Began,
    Cancel,
    Interrupt,
    Leaving,
    Lost,
    PoolEvent,
    Ready,
    Recall,
    Report,
    Returned,
    Stop,
    Word,
)
from umbel.ports import Pool
from umbel.worker.frames import read_some
from umbel.worker.plan import Forked, Gone, TemplateWord
from umbel.worker.pools.seats import Pace, Seat, SeatState
from umbel.worker.template_link import TemplateGone, TemplateLink

logger = logging.getLogger("umbel.worker")

RECALL_AFTER = 0.1
"""Seconds a task runs before what waits behind it is taken back: twice the usual look-ahead."""
LOOKAHEAD_SHARED = 4
"""Tasks per slot that a process of many slots may hold, whatever the cap."""
STATUS_PATIENCE = 1.0
"""Seconds to wait for the exit status of an executor whose socket is closed."""
CLOSE_PATIENCE = 2.0
"""Seconds idle executors have to end by themselves at the very end."""


class ProcessPool(Pool):
    """Seats filled by executor processes, refilled when one dies or retires."""

    def __init__(
        self,
        template: TemplateLink,
        *,
        processes: int,
        slots: int,
        lookahead: float,
        lookahead_cap: int,
        clock: Clock,
    ) -> None:
        self._template = template
        self._wanted = processes
        self._slots = slots
        self._lookahead = lookahead
        self._cap = lookahead_cap
        self._clock = clock
        self._pace = Pace()
        self._seats: dict[int, Seat] = {}
        self._next_seat = 0
        self._where: dict[int, Seat] = {}
        self._offered: list[tuple[Seat, int]] = []
        """Seats with room, and how many assignments each may hold: what ``room`` told last."""
        self._selector = selectors.DefaultSelector()
        self._bell_in, self._bell_out = socket.socketpair()
        self._bell_in.setblocking(False)
        self._bell_out.setblocking(False)
        self._events: list[PoolEvent] = []
        self._closing = False
        self.restarts = 0
        """How many executors were replaced because they died."""
        self._selector.register(self._bell_out, selectors.EVENT_READ, None)
        self._selector.register(template.sock, selectors.EVENT_READ, template)

    # --- the port ---------------------------------------------------------------------------------

    def start(self) -> None:
        for _ in range(self._wanted):
            self._add_seat()

    def capacity(self) -> int:
        return sum(depth for _, depth in self._depths())

    def room(self) -> int:
        # Kept for the submit that follows: a moment later a seat may count as stuck.
        self._offered = [(seat, depth) for seat, depth in self._depths() if depth > len(seat.held)]
        return sum(depth - len(seat.held) for seat, depth in self._offered)

    def submit(self, assignments: Sequence[Assignment]) -> None:
        now = self._clock.monotonic()
        for seat, share in self._deal(assignments):
            for assignment in share:
                self._where[assignment.id] = seat
            idle = not seat.held
            try:
                seat.give(share, now)
            except OSError:
                self._died(seat)
            else:
                self._watch_writes(seat)
                if idle:
                    self._note_begun(seat)

    def poll(self, timeout: float) -> Sequence[PoolEvent]:
        if not self._events:
            for key, mask in self._selector.select(self._patience(timeout)):
                if isinstance(key.data, Seat):
                    self._serve(key.data, mask)
                elif key.data is None:
                    self._drain_bell()
                else:
                    self._hear_template()
        self._look_after()
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        try:
            self._bell_in.send(b"!")
        except BlockingIOError:
            pass  # the bell is full: it rings already

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:
        seat = self._where.get(assignment_id)
        if seat is None or seat.pid is None:
            return False
        if how is Interrupt.HARD:
            _kill(seat.pid, signal.SIGKILL)
            return True
        return self._order(seat, Cancel(assignment_id, reason))

    def recall(self) -> None:
        for seat in list(self._seats.values()):
            if seat.held and seat.state is not SeatState.DEAD:
                seat.recalled = True
                self._order(seat, Recall())

    def stop(self) -> None:
        self._closing = True
        for seat in self._seats.values():
            if seat.pid is not None:
                _kill(seat.pid, signal.SIGKILL)

    def close(self) -> None:
        self._closing = True
        for seat in list(self._seats.values()):
            if seat.state is not SeatState.DEAD:
                self._order(seat, Stop())
        deadline = self._clock.monotonic() + CLOSE_PATIENCE
        while self._seats and self._clock.monotonic() < deadline:
            self.poll(0.05)
        self.stop()
        self._template.quit()
        self._selector.close()
        self._bell_in.close()
        self._bell_out.close()

    def _patience(self, timeout: float) -> float:
        """At most until a busy executor must be looked at: nobody wakes us for that."""
        moments = [seat.looked_at(RECALL_AFTER) for seat in self._seats.values() if seat.takes]
        looks = [moment for moment in moments if moment is not None]
        if not looks:
            return timeout
        return min(timeout, max(0.0, min(looks) - self._clock.monotonic()) + 0.001)

    # --- seats ------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Return the process ids of the executors that are up."""
        return [seat.pid for seat in self._seats.values() if seat.pid is not None]

    def _depths(self) -> list[tuple[Seat, int]]:
        """Every seat that takes work, and how many assignments it may hold now."""
        # The cap is a slot's, but slots of one process share one interpreter: beyond four a slot
        # it is the process's, or a hundred coroutines would be dealt 25,600 tasks at once.
        most = max(self._cap, LOOKAHEAD_SHARED * self._slots)
        depth = min(most, self._slots * self._pace.depth(self._lookahead, self._cap))
        now = self._clock.monotonic()
        return [
            (seat, seat.depth(depth, now, RECALL_AFTER))
            for seat in self._seats.values()
            if seat.takes
        ]

    def _note_begun(self, seat: Seat) -> None:
        """An executor of one slot works in order, so what begins is known without its word."""
        begun = seat.begun_with_limit()
        if begun is not None:
            self._events.append(Began(begun, None))

    def _add_seat(self) -> None:
        self._next_seat += 1
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        seat = Seat(self._next_seat, ours, self._slots)
        self._seats[seat.number] = seat
        self._selector.register(ours, selectors.EVENT_READ, seat)
        try:
            self._template.fork(seat.number, theirs)
        finally:
            theirs.close()

    def _deal(
        self, assignments: Sequence[Assignment]
    ) -> Iterator[tuple[Seat, Sequence[Assignment]]]:
        """Share a batch out so that every seat holds about as much, in the order claimed."""
        rooms = sorted(self._offered, key=lambda each: len(each[0].held))
        if len(assignments) == 1 or len(rooms) == 1:
            yield rooms[0][0], assignments
            return
        shares: dict[int, list[Assignment]] = {seat.number: [] for seat, _ in rooms}
        level, at = len(rooms[0][0].held), 0
        while at < len(assignments):
            for seat, depth in rooms:
                share = shares[seat.number]
                if at < len(assignments) and len(seat.held) + len(share) <= min(level, depth - 1):
                    share.append(assignments[at])
                    at += 1
            level += 1
        for seat, _ in rooms:
            if shares[seat.number]:
                yield seat, shares[seat.number]

    def _order(self, seat: Seat, order: Recall | Stop | Cancel) -> bool:
        """Send an order that a busy executor must hear now: the signal makes it look."""
        try:
            seat.send((order,))
        except OSError:
            self._died(seat)
            return False
        self._watch_writes(seat)
        if seat.pid is not None and seat.state in (SeatState.READY, SeatState.LEAVING):
            _kill(seat.pid, signal.SIGUSR1)
        return True

    def _watch_writes(self, seat: Seat) -> None:
        if seat.state is SeatState.DEAD:
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if seat.writer.blocked else 0)
        if self._selector.get_key(seat.sock).events != wanted:
            self._selector.modify(seat.sock, wanted, seat)

    # --- what is heard ----------------------------------------------------------------------------

    def _serve(self, seat: Seat, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            try:
                seat.writer.flush()
            except OSError:
                self._died(seat)
                return
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
                self._where.pop(word.id, None)
                self._pace.note(word.seconds)
                self._events.append(word)
                self._note_begun(seat)
            elif isinstance(word, Began):
                self._events.append(word)
            elif isinstance(word, Returned):
                for assignment_id in word.ids:
                    seat.held.pop(assignment_id, None)
                    self._where.pop(assignment_id, None)
                self._events.append(word)
            elif isinstance(word, Ready):
                seat.pid = word.pid
                seat.state = SeatState.READY
            else:
                self._retire(seat, word)

    def _retire(self, seat: Seat, word: Leaving) -> None:
        logger.debug("Executor %s retires: %s", seat.pid, word.why)
        seat.state = SeatState.LEAVING
        if not self._closing:
            self._add_seat()

    def _hear_template(self) -> None:
        try:
            words = self._template.hear()
        except TemplateGone:
            self._selector.unregister(self._template.sock)
            if self._closing:
                return
            raise
        for word in words:
            self._hear_about(word)

    def _hear_about(self, word: TemplateWord) -> None:
        match word:
            case Forked(seat=number, pid=pid):
                seat = self._seats.get(number)
                if seat is not None:
                    seat.pid = pid
            case Gone(pid=pid, status=status):
                for seat in self._seats.values():
                    if seat.pid == pid:
                        seat.status = status
            case _:
                pass

    def _drain_bell(self) -> None:
        try:
            while self._bell_out.recv(4096):
                pass
        except BlockingIOError:
            pass

    # --- what becomes of executors ----------------------------------------------------------------

    def _died(self, seat: Seat) -> None:
        if seat.state is SeatState.DEAD:
            return
        # Its last words: in the socket where it was a write that failed, and what it had kept.
        while data := read_some(seat.sock):
            self._hear(seat, seat.reader.feed(data))
        self._hear(seat, seat.hear_kept())
        seat.state = SeatState.DEAD
        seat.died_at = self._clock.monotonic()
        self._selector.unregister(seat.sock)
        seat.close()

    def _look_after(self) -> None:
        now = self._clock.monotonic()
        for seat in list(self._seats.values()):
            if seat.state is SeatState.DEAD:
                if seat.status is not None or now - seat.died_at > STATUS_PATIENCE:
                    self._bury(seat)
            elif (
                seat.takes
                and len(seat.held) > seat.slots
                and not seat.recalled
                and seat.stuck(now, RECALL_AFTER)
            ):
                self._hear(seat, seat.hear_kept())
                if len(seat.held) > seat.slots:
                    seat.recalled = True
                    self._order(seat, Recall())

    def _bury(self, seat: Seat) -> None:
        """Say what is lost and fill the seat again.

        An executor works in order, so of what it held the first ``slots`` may have been begun;
        the rest certainly was not.
        """
        del self._seats[seat.number]
        held = list(seat.held)
        for assignment_id in held:
            self._where.pop(assignment_id, None)
        self._events.extend(Lost(each, seat.status) for each in held[: self._slots])
        if held[self._slots :]:
            self._events.append(Returned(tuple(held[self._slots :])))
        if self._closing or len(self._live()) >= self._wanted:
            return
        self.restarts += 1
        self._add_seat()

    def _live(self) -> list[Seat]:
        return [
            seat
            for seat in self._seats.values()
            if seat.state in (SeatState.STARTING, SeatState.READY)
        ]


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended by itself; its socket tells the rest
