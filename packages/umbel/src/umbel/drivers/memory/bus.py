"""The bus of the memory driver: lists of notices, one for each line that listens."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from umbel.drivers.selfpipe import SelfPipe
from umbel.model.bus import Mailbox, Notice, matches
from umbel.ports import Bus, Line

MOST_WAITING = 10_000
"""Notices kept for a listener that does not come for them; the oldest go."""


class MemoryBus(Bus):
    """Everybody who listens in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening: set[MemoryLine] = set()

    def open_line(self, mailboxes: Sequence[Mailbox] = ()) -> MemoryLine:
        return MemoryLine(self, mailboxes)

    def enter(self, line: MemoryLine) -> None:
        """From now on this line hears what it wants to."""
        with self._lock:
            self._listening.add(line)

    def leave(self, line: MemoryLine) -> None:
        """From now on it hears nothing."""
        with self._lock:
            self._listening.discard(line)

    def spread(self, notice: Notice) -> int:
        """Hand it to all who want it; return how many they are."""
        with self._lock:
            listening = list(self._listening)
        return sum(line.hand(notice) for line in listening)

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryLine(Line):
    """One listener. Lines are told apart by identity."""

    def __init__(self, bus: MemoryBus, mailboxes: Sequence[Mailbox]) -> None:
        self._bus = bus
        self._mailboxes = tuple(mailboxes)
        self._heard: deque[Notice] = deque(maxlen=MOST_WAITING)
        self._pipe = SelfPipe()
        self._woken = False

    def hand(self, notice: Notice) -> bool:
        """Take the notice if a mailbox here wants it. Any thread."""
        for each in self._mailboxes:
            if each.topic == notice.topic and matches(each.topic, each.binding, notice.key):
                self._heard.append(notice)
                self._pipe.ring()
                return True
        return False

    def listen(self, timeout: float) -> None:  # noqa: ARG002 - never waits
        if self._mailboxes:
            self._bus.enter(self)

    def tell(self, notices: Sequence[Notice], *, timeout: float) -> int | None:  # noqa: ARG002
        reached = 0
        for notice in notices:
            reached = self._bus.spread(notice)
        return reached

    def receive(self, timeout: float) -> Sequence[Notice]:
        self.listen(timeout)
        deadline = time.monotonic() + timeout
        while True:
            heard: list[Notice] = []
            while self._heard:
                heard.append(self._heard.popleft())
            woken, self._woken = self._woken, False
            left = deadline - time.monotonic()
            if heard or woken or left <= 0:
                return heard
            self._pipe.wait(left)

    def wake(self) -> None:
        self._woken = True
        self._pipe.ring()

    def close(self) -> None:
        self._bus.leave(self)
        self._pipe.close()
