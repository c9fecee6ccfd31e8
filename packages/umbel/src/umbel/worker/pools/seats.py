"""One executor process as its pool sees it: socket, pid, and what it was given.

Used by ``pools.process`` only. A seat never touches the store.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from enum import Enum, auto

import msgspec

from umbel.model.assignment import Assignment, Order, Report, Word
from umbel.worker.frames import FrameReader, FrameWriter


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
        self.slots = slots
        self.pid: int | None = None
        self.state = SeatState.STARTING
        self.reader: FrameReader[Word] = FrameReader(Word)
        self.writer = FrameWriter(sock)
        self.held: dict[int, None] = {}
        """Assignment ids in the order given; a dict for its order and its quick removal."""
        self.moved: float = 0.0
        """Monotonic seconds of the last sign that it works: given the first, or reported."""
        self.recalled = False
        """It was asked to return what it has not begun, and has not been given more since."""
        self.status: int | None = None
        self.died_at: float = 0.0

    @property
    def takes(self) -> bool:
        return self.state is SeatState.READY

    def give(self, assignments: Sequence[Assignment], now: float) -> None:
        """Send these. Raises OSError when the executor is gone."""
        if not self.held:
            self.moved = now
        self.recalled = False
        for assignment in assignments:
            self.held[assignment.id] = None
        self.send(assignments)

    def send(self, orders: Sequence[Order]) -> None:
        """Send orders. Raises OSError when the executor is gone."""
        self.writer.send(orders)

    def finished(self, report: Report, now: float) -> None:
        """Note that one assignment ended."""
        self.held.pop(report.id, None)
        self.moved = now

    def overdue(self, now: float, patience: float) -> bool:
        """True when work waits behind a task that has run for longer than ``patience``."""
        return (
            not self.recalled
            and self.state is SeatState.READY
            and len(self.held) > self.slots
            and now - self.moved > patience
        )


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
