"""One executor process as its pool sees it: socket, pid, and what it was given.

Used by ``pools.process`` only. A seat never touches the store.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from enum import Enum, auto

import msgspec

from umbel.model.assignment import (
    Assignment,
    Lost,
    Order,
    PoolEvent,
    Report,
    Returned,
    Word,
)
from umbel.model.pool_condition import PoolCondition
from umbel.worker.frames import FrameReader, FrameWriter
from umbel.worker.spool import Spool, open_spool

BYTES_AHEAD = 1_048_576
"""How many bytes of messages may wait at one slot, about: large ones are claimed one by one."""
RECALL_AFTER = 0.1
"""Seconds a task runs before what waits behind it is taken back: twice the usual look-ahead."""
STATUS_PATIENCE = 1.0
"""Seconds to wait for the exit status of an executor whose socket is closed."""
LEAVE_PATIENCE = 5.0
"""Seconds an executor that has nothing left to do may take to end."""


class SeatState(Enum):
    """Where an executor is in its life."""

    STARTING = auto()  # forked, has not said Ready
    READY = auto()  # takes assignments
    LEAVING = auto()  # finishes what it has begun, takes no more
    DEAD = auto()  # its socket is closed; its exit status may still be on the way


LIVE = frozenset({SeatState.STARTING, SeatState.READY})
"""Executors that work, or soon will."""


class Seat:
    """One executor. Belongs to the pool's thread.

    ``in_order``: it has one slot, works through what it is given, and does not say what it begins;
    so the first of what it holds is what it runs. Any other says ``Began`` before it opens a
    message.
    """

    def __init__(
        self, number: int, sock: socket.socket, slots: int, *, in_order: bool = True
    ) -> None:
        self.number = number
        self.sock = sock
        self._spool = self._share_spool()
        self.slots = slots
        self.in_order = in_order
        self.pid: int | None = None
        self.state = SeatState.STARTING
        self.since: float | None = None
        """Monotonic seconds of its fork, later of the moment it began to leave."""
        self.reader: FrameReader[Word] = FrameReader(Word)
        self.writer = FrameWriter(sock)
        self.held: dict[int, bool] = {}
        """Assignment ids in the order given, and whether the beginning of each must be told: it
        has a time limit, or a monitor wants to know."""
        self.begun: set[int] = set()
        """Of these, what it said that it has begun (never, where it works in order)."""
        self.doomed: set[int] = set()
        """What is to be ended by force; see ``ProcessPool.interrupt``."""
        self.kill_at: float | None = None
        """Monotonic seconds when it will be killed for the sake of what is doomed."""
        self.killed_for: frozenset[int] = frozenset()
        """What it was killed for: everything else it had begun is innocent."""
        self.moved: float = 0.0
        """Monotonic seconds of the last sign that it works: given the first, or reported."""
        self.recalled = False
        """It was asked to return what it has not begun, and has finished nothing since."""
        self.deaf = False
        """It takes no more words: a send failed. What it said before is still to be read."""
        self.dismissed = False
        """It was told to end while it may have been running something, which it finishes."""
        self.status: int | None = None
        self.died_at: float = 0.0
        self.lost: list[int] = []
        self.spared: list[int] = []
        self.was_ready = False
        self.left = False
        """It had said that it leaves, or was told to: its end is no surprise."""

    def _share_spool(self) -> Spool:
        """Send the memory for kept reports ahead of everything else on the line."""
        descriptor = open_spool()
        try:
            socket.send_fds(self.sock, [b"S"], [descriptor])
            return Spool(descriptor)
        finally:
            os.close(descriptor)

    def hear_kept(self) -> Sequence[Word]:
        """Return the reports that the executor has not sent yet; it may send them all the same."""
        frame = self._spool.frame()
        return FrameReader[Word](Word).feed(frame) if frame else ()

    def close(self) -> None:
        """Close the line and let go of the shared memory."""
        self.sock.close()
        self._spool.close()

    @property
    def takes(self) -> bool:
        """Whether it may be given work."""
        return self.state is SeatState.READY and not self.deaf

    def give(self, assignments: Sequence[Assignment], now: float) -> bool:
        """Send these. False when the executor is gone and none of them has reached it."""
        if not self.send(assignments):
            return False
        if not self.held:
            self.moved = now
        for each in assignments:
            limited = each.soft_limit is not None or each.hard_limit is not None
            self.held[each.id] = limited or each.watched
        return True

    def send(self, orders: Sequence[Order]) -> bool:
        """Send orders. False when the executor is gone."""
        if self.deaf or self.state is SeatState.DEAD:
            return False
        try:
            self.writer.send(orders)
        except OSError:
            self.deaf = True
            return False
        return True

    def flush(self) -> None:
        """Send what the socket did not take before."""
        try:
            self.writer.flush()
        except OSError:
            self.deaf = True
            self.writer.forget()

    def began(self, assignment_id: int) -> None:
        """Note what it says that it has begun."""
        if assignment_id in self.held:
            self.begun.add(assignment_id)

    def finished(self, report: Report, now: float) -> bool:
        """Note that one assignment ended. False when that was known: it was read ahead."""
        if report.id not in self.held:
            return False
        self.forget(report.id)
        self.moved = now
        self.recalled = False
        return True

    def forget(self, assignment_id: int) -> None:
        """It is no longer here: it ended, or came back."""
        self.held.pop(assignment_id, None)
        self.begun.discard(assignment_id)
        self.doomed.discard(assignment_id)

    def died(self, now: float) -> None:
        """Note the end: what it may have begun is lost, the rest is spared."""
        self.lost = [each for each in self.held if self.runs(each)]
        self.spared = [each for each in self.held if each not in self.lost]
        self.was_ready = self.state is not SeatState.STARTING
        self.left = self.state is SeatState.LEAVING
        self.state = SeatState.DEAD
        self.died_at = now

    def losses(self) -> list[PoolEvent]:
        """What its death means for what it held."""
        spared_by_kill = self.killed_for
        told: list[PoolEvent] = [
            Lost(each, self.status, innocent=bool(spared_by_kill) and each not in spared_by_kill)
            for each in self.lost
        ]
        return [*told, Returned(tuple(self.spared))] if self.spared else told

    def runs(self, assignment_id: int) -> bool:
        """Whether this may have been begun; hear what it kept before you ask."""
        if self.in_order:
            at_work = self.dismissed or self.state is SeatState.READY
            return at_work and next(iter(self.held), None) == assignment_id
        return assignment_id in self.begun

    def begun_to_tell(self) -> int | None:
        """What runs now, where it works in order and that must be told."""
        if not self.in_order:
            return None
        for assignment_id, told in self.held.items():
            return assignment_id if told else None
        return None

    def stuck(self, now: float, patience: float) -> bool:
        """True when every slot has been busy with the same tasks for longer than ``patience``."""
        return len(self.held) >= self.slots and now - self.moved > patience

    def looked_at(self, patience: float) -> float | None:
        """When to look whether it is stuck with work behind, in monotonic seconds."""
        if self.recalled or len(self.held) <= self.slots:
            return None
        return self.moved + patience

    def next_look(self, start_timeout: float) -> float | None:
        """When the pool must look after it though it says nothing, in monotonic seconds."""
        match self.state:
            case SeatState.READY:
                return self.looked_at(RECALL_AFTER)
            case SeatState.STARTING:
                return None if self.since is None else self.since + start_timeout
            case SeatState.DEAD:
                return self.died_at + STATUS_PATIENCE
            case SeatState.LEAVING:
                if self.kill_at is not None:
                    return self.kill_at
                return None if self.since is None else self.since + LEAVE_PATIENCE

    def depth(self, depth: int, now: float, patience: float) -> int:
        """How many assignments it may hold: no look-ahead behind a task that takes long."""
        return self.slots if self.recalled or self.stuck(now, patience) else depth


def next_look(seats: Iterable[Seat], start_timeout: float) -> float | None:
    """When the first of these must be looked after, in monotonic seconds."""
    moments = [moment for seat in seats if (moment := seat.next_look(start_timeout))]
    return min(moments, default=None)


class Pace(msgspec.Struct):
    """How long tasks take here, in seconds, and how large their messages are, in bytes.

    Moving averages that rise fast and fall slowly.
    """

    average: float | None = None
    size: float = 0.0

    def note(self, seconds: float) -> None:
        if self.average is None or seconds > 10 * self.average:
            self.average = seconds
        else:
            self.average += 0.1 * (seconds - self.average)

    def note_sizes(self, assignments: Sequence[Assignment]) -> None:
        """Look at what is about to be handed out."""
        size = sum(len(each.raw) for each in assignments) / len(assignments)
        self.size = size if size > 4 * self.size else self.size + 0.1 * (size - self.size)

    def depth(self, lookahead: float, cap: int) -> int:
        """How many tasks may wait at one slot so that they wait ``lookahead`` seconds at most."""
        if self.average is None:
            return 1
        if self.size * cap > BYTES_AHEAD:
            cap = int(BYTES_AHEAD / self.size)
        if self.average <= 0.0:
            return max(1, cap)
        return max(1, min(cap, int(lookahead / self.average)))


class Refill:
    """When the next executor may be started: later and later while they die in their start."""

    FIRST = 0.1
    MOST = 10.0

    def __init__(self) -> None:
        self.failures = 0
        self._not_before = 0.0

    def failed(self, now: float) -> float:
        """One died before it was ready. Returns the seconds until the next try."""
        delay = min(self.MOST, self.FIRST * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self._not_before = now + delay
        return delay

    def succeeded(self) -> None:
        """One came up."""
        self.failures = 0
        self._not_before = 0.0

    def wait(self, now: float) -> float:
        """Seconds to wait still."""
        return max(0.0, self._not_before - now)


def condition_of(
    seats: Iterable[Seat], wanted: int, restarts: int, startable: bool
) -> PoolCondition:
    """Return how the executors are, for ``Pool.condition``."""
    ready = sum(seat.state is SeatState.READY for seat in seats)
    return PoolCondition(ready=ready, wanted=wanted, restarts=restarts, startable=startable)
