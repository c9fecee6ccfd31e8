"""One executor process as its pool sees it: socket, pid, and what it was given.

Used by ``pools.process`` only. A seat never touches the store.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from enum import Enum, auto

import msgspec

from umbel.model.assignment import Assignment, Order, Report, Word
from umbel.worker.frames import FrameReader, FrameWriter
from umbel.worker.spool import Spool, open_spool


class SeatState(Enum):
    """Where an executor is in its life."""

    STARTING = auto()  # forked, has not said Ready
    READY = auto()  # takes assignments
    LEAVING = auto()  # finishes what it has begun, takes no more
    DEAD = auto()  # its socket is closed; its exit status may still be on the way


class Seat:
    """One executor. Belongs to the pool's thread."""

    def __init__(self, number: int, sock: socket.socket, slots: int) -> None:
        self.number = number
        self.sock = sock
        self._spool = self._share_spool()
        self.slots = slots
        self.pid: int | None = None
        self.state = SeatState.STARTING
        self.reader: FrameReader[Word] = FrameReader(Word)
        self.writer = FrameWriter(sock)
        self.held: dict[int, bool] = {}
        """Assignment ids in the order given, and whether each has a time limit."""
        self.moved: float = 0.0
        """Monotonic seconds of the last sign that it works: given the first, or reported."""
        self.recalled = False
        """It was asked to return what it has not begun, and has finished nothing since."""
        self.status: int | None = None
        self.died_at: float = 0.0

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
        return self.state is SeatState.READY

    def give(self, assignments: Sequence[Assignment], now: float) -> None:
        """Send these. Raises OSError when the executor is gone."""
        if not self.held:
            self.moved = now
        for each in assignments:
            self.held[each.id] = each.soft_limit is not None or each.hard_limit is not None
        self.send(assignments)

    def send(self, orders: Sequence[Order]) -> None:
        """Send orders. Raises OSError when the executor is gone."""
        self.writer.send(orders)

    def finished(self, report: Report, now: float) -> bool:
        """Note that one assignment ended. False when that was known: it was read ahead."""
        if self.held.pop(report.id, None) is None:
            return False
        self.moved = now
        self.recalled = False
        return True

    def begun_with_limit(self) -> int | None:
        """The assignment that runs now, where there is one slot and it has a time limit."""
        if self.slots != 1:
            return None
        for assignment_id, limited in self.held.items():
            return assignment_id if limited else None
        return None

    def stuck(self, now: float, patience: float) -> bool:
        """True when every slot has been busy with the same tasks for longer than ``patience``."""
        return len(self.held) >= self.slots and now - self.moved > patience

    def looked_at(self, patience: float) -> float | None:
        """When to look whether it is stuck with work behind, in monotonic seconds."""
        if self.recalled or len(self.held) <= self.slots:
            return None
        return self.moved + patience

    def depth(self, depth: int, now: float, patience: float) -> int:
        """How many assignments it may hold: no look-ahead behind a task that takes long."""
        return self.slots if self.recalled or self.stuck(now, patience) else depth


class Pace(msgspec.Struct):
    """How long tasks take here, in seconds: a moving average that rises fast and falls slowly."""

    average: float | None = None

    def note(self, seconds: float) -> None:
        if self.average is None or seconds > 10 * self.average:
            self.average = seconds
        else:
            self.average += 0.1 * (seconds - self.average)

    def depth(self, lookahead: float, cap: int) -> int:
        """How many tasks may wait at one slot so that they wait ``lookahead`` seconds at most."""
        if self.average is None:
            return 1
        if self.average <= 0.0:
            return cap
        return max(1, min(cap, int(lookahead / self.average)))
