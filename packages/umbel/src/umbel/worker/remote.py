"""The thread that owns the bus: events out; commands in, and their replies out.

It acts on nothing by itself: a command is a value that it hands to the supervisor, whose answer it
sends. What goes wrong here is logged and tried again, and never touches a task: everything on the
bus may be lost.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from umbel.clock import LogicalClock
from umbel.errors import EncodeError, OperationalError, WireError
from umbel.model.bus import Notice, Spread, Topic
from umbel.model.message import EncodedMessage
from umbel.monitoring.emitter import Emitter
from umbel.ports import Bus, Line
from umbel.version import __version__
from umbel.wire import event_message, pidbox
from umbel.wire.pidbox import Command
from umbel.wire.serializers import SERIALIZERS
from umbel.worker.plan import WorkerPlan

logger = logging.getLogger("umbel.worker")

FLUSH_EVERY = 0.05
"""Seconds between batches of events at most this often: what comes in between goes together."""
BATCH = 200
"""Events in one message at most."""
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 30.0
PATIENCE = 5.0
"""Seconds one exchange with the broker may take."""


class Remote:
    """Owns one line of the bus on a thread of its own."""

    def __init__(
        self,
        bus: Bus,
        plan: WorkerPlan,
        emitter: Emitter,
        clock: LogicalClock,
    ) -> None:
        self._plan = plan
        self._emitter = emitter
        self._load: Callable[[], tuple[int, int]] = lambda: (0, 0)
        mailboxes = [plan.bus.node(plan.node)] if plan.remote_control else []
        self._line: Line = bus.open_line(mailboxes)
        self._clock = clock
        self._handle: Callable[[Command, Callable[[Any], None]], None] | None = None
        self._replies: deque[tuple[Command, Any]] = deque()
        self._accept = frozenset(plan.accept)
        self._reply_serializer = SERIALIZERS.get(plan.control_serializer)
        self._serializer = SERIALIZERS.get(plan.event_serializer)
        self._events = plan.bus.events
        self._thread = threading.Thread(target=self._run, name="umbel-remote", daemon=True)
        self._nudged = False
        self._stopping = False
        self._freq = plan.heartbeat
        self._leaving = False
        self._told_dropped = 0
        # Monotonic seconds; the thread's own.
        self._beat_at = 0.0
        self._flushed_at = 0.0

    # --- for other threads ------------------------------------------------------------------------

    def start(
        self,
        load: Callable[[], tuple[int, int]],
        handle: Callable[[Command, Callable[[Any], None]], None],
    ) -> None:
        """Begin.

        ``load`` says how many tasks run, and how many have ended; ``handle`` takes a command and a
        function for the answer. Both are called on the bus's thread.
        """
        self._load = load
        self._handle = handle
        self._thread.start()

    def _answer(self, command: Command, reply: Any) -> None:
        """Send what a command is answered. Any thread."""
        if command.reply_key:
            self._replies.append((command, reply))
            self._line.wake()

    def nudge(self) -> None:
        """There is something to send."""
        # Race: two threads may both nudge; then it is woken twice. The thread clears the flag
        # before it takes what is kept, so nothing that was kept before a nudge stays behind.
        if not self._nudged:
            self._nudged = True
            self._line.wake()

    def say_offline(self) -> None:
        """The worker begins to end: monitors are told now, as Celery tells them."""
        self._leaving = True
        self.nudge()

    def stop(self, timeout: float) -> None:
        """Send what is kept, and end; wait for it up to ``timeout`` seconds."""
        self._stopping = True
        self._line.wake()
        self._thread.join(timeout)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        delay, said = BACKOFF_FIRST, False
        while True:
            try:
                self._line.listen(PATIENCE)
                self._online()
                if said:
                    logger.info("Events and remote control work again")
                delay, said = BACKOFF_FIRST, False
                while not self._stopping:
                    self._step()
                self._end()
                return
            except OperationalError as error:
                if self._stopping:
                    return
                logger.log(
                    logging.DEBUG if said else logging.WARNING,
                    "No events and no remote control for now: %s",
                    error,
                )
                said = True
                self._wait(delay)
                delay = min(BACKOFF_MOST, delay * 2)
            except Exception:
                logger.exception("Events and remote control stumbled; they begin again")
                self._wait(delay)
                delay = min(BACKOFF_MOST, delay * 2)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            time.sleep(min(0.1, seconds))

    def _step(self) -> None:
        now = time.monotonic()
        if self._freq is not None and now >= self._beat_at:
            self._beat("worker-heartbeat", self._freq)
        until = self._beat_at if self._freq is not None else now + BACKOFF_MOST
        if self._nudged:
            until = min(until, self._flushed_at + FLUSH_EVERY)
        for notice in self._line.receive(max(0.0, until - now)):
            self._obey(notice)
        self._reply()
        if self._nudged and time.monotonic() - self._flushed_at >= FLUSH_EVERY:
            self._nudged = False
            self._flush()

    def _obey(self, notice: Notice) -> None:
        try:
            command = pidbox.decode_command(notice.message, self._accept)
        except WireError as error:
            logger.warning("A command cannot be read: %s", error)
            return
        self._clock.adjust(command.clock)
        if self._handle is not None and command.is_for(self._plan.node):
            self._handle(command, lambda reply: self._answer(command, reply))

    def _reply(self) -> None:
        """Send every answer that is there."""
        while self._replies:
            command, reply = self._replies.popleft()
            try:
                message = self._encoded(command, reply)
            except EncodeError as error:
                message = self._encoded(command, {"error": str(error)})
            topic = Topic(command.reply_exchange, Spread.BY_KEY)
            self._line.tell([Notice(topic, command.reply_key, message)], timeout=PATIENCE)

    def _encoded(self, command: Command, reply: Any) -> EncodedMessage:
        return pidbox.encode_reply(
            self._plan.node,
            reply,
            ticket=command.ticket,
            clock=self._clock.forward(),
            serializer=self._reply_serializer,
        )

    def beat_soon(self) -> None:
        """Give monitors a sign of life now. The bus's thread only."""
        self._tell_event("worker-heartbeat", {"freq": 5})

    def _flush(self) -> None:
        """Send every event that is kept."""
        self._flushed_at = time.monotonic()
        if self._leaving and self._freq is not None:
            self._beat("worker-offline", self._freq)
            self._freq = None
        while events := self._emitter.take(BATCH):
            message = event_message.encode_many(events, self._plan.node, self._serializer)
            try:
                notice = Notice(self._events, event_message.MANY, message)
                self._line.tell([notice], timeout=PATIENCE)
            except OperationalError:
                self._emitter.put_back(events)
                self._nudged = True
                raise
        dropped = self._emitter.dropped
        if dropped != self._told_dropped:
            logger.warning("%d events were lost: the broker was away", dropped - self._told_dropped)
            self._told_dropped = dropped

    def _online(self) -> None:
        if self._freq is not None:
            self._beat("worker-online", self._freq)

    def _beat(self, event_type: str, freq: float) -> None:
        """Say how the worker is."""
        active, processed = self._load()
        fields = {
            "freq": freq,
            "active": active,
            "processed": processed,
            "loadavg": [round(one, 2) for one in os.getloadavg()],
            "sw_ident": "umbel",
            "sw_ver": __version__,
            "sw_sys": platform.system(),
        }
        self._tell_event(event_type, fields)
        self._beat_at = time.monotonic() + freq

    def _tell_event(self, event_type: str, fields: Mapping[str, Any]) -> None:
        message = event_message.encode_one(self._emitter.make(event_type, fields), self._serializer)
        key = event_message.key_of(event_type)
        self._line.tell([Notice(self._events, key, message)], timeout=PATIENCE)

    def _end(self) -> None:
        self._reply()
        self._flush()
        self._leaving = True  # if nobody said so before: monitors hear of it all the same
        self._flush()
        self._line.close()
