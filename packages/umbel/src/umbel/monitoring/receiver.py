"""Hearing the events of a fleet: Umbel's workers and Celery's alike.

Made by ``app.events.Receiver``. Whoever captures does the listening, on that thread.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from umbel.clock import LogicalClock
from umbel.config.bus_names import BusNames
from umbel.errors import WireError
from umbel.model.bus import Notice
from umbel.monitoring.emitter import Event
from umbel.ports import Bus, Line
from umbel.wire import event_message

logger = logging.getLogger("umbel.monitoring")

Handler = Callable[[Event], Any]

LOOK = 1.0
"""Seconds between looks whether a capture should end."""
PATIENCE = 5.0


class EventReceiver:
    """One monitor's ear. One thread at a time; ``stop`` may be called by any."""

    def __init__(
        self,
        bus: Bus,
        names: BusNames,
        *,
        accept: frozenset[str],
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        wakeup: Callable[[], None] = lambda: None,
    ) -> None:
        """``handlers``: by the type of event; ``*`` takes every type that has no other.

        ``routing_key`` chooses what is heard: ``#`` all, ``worker.#`` what workers tell of
        themselves. ``wakeup`` asks workers for a sign of life.
        """
        self.handlers: dict[str, Handler] = dict(handlers or {})
        self.node_id = node_id or str(uuid.uuid4())
        self.clock = LogicalClock()
        self.should_stop = False
        self._accept = accept
        self._wakeup = wakeup
        self._line: Line = bus.open_line([names.monitor(self.node_id, routing_key)])

    def capture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> None:
        """Give events to the handlers: ``limit`` messages, or until ``should_stop``.

        A handler may raise StopIteration to end it. With ``wakeup`` every worker is asked for a
        sign of life first. Raises TimeoutError when nothing came for ``timeout`` seconds, and
        OperationalError when the broker is lost; capturing again goes on.
        """
        try:
            for _ in self.itercapture(limit, timeout, wakeup):
                pass
        except StopCapture:
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[None]:
        """Do as ``capture``, handing control back after each message."""
        self._line.listen(PATIENCE)
        if wakeup:
            self.wakeup_workers()
        heard = 0
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.should_stop and (limit is None or heard < limit):
            left = LOOK if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no event came for {timeout} s")
            for notice in self._line.receive(min(left, LOOK)):
                self._give(notice)
                heard += 1
                if timeout is not None:
                    deadline = time.monotonic() + timeout
                yield
                if limit is not None and heard >= limit:
                    return

    def receive(self, timeout: float) -> list[Event]:
        """Return what came within ``timeout`` seconds, without calling handlers."""
        events: list[Event] = []
        for notice in self._line.receive(timeout):
            events += self._read(notice)
        return events

    def _give(self, notice: Notice) -> None:
        for event in self._read(notice):
            self.process(event["type"], event)

    def _read(self, notice: Notice) -> list[Event]:
        try:
            events = event_message.decode(notice.message, self._accept)
        except WireError as error:
            logger.warning("An event cannot be read: %s", error)
            return []
        now = time.time()
        for event in events:
            self.clock.adjust(event.get("clock"))
            event["local_received"] = now
        return events

    def process(self, type: str, event: Event) -> None:  # noqa: A002 - Celery's
        """Give one event to its handler, or to the one for ``*``."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is None:
            return
        try:
            handler(event)
        except StopIteration as end:  # a generator must not end by it
            raise StopCapture from end

    def wakeup_workers(self, channel: Any = None) -> None:  # noqa: ARG002 - Celery's
        """Ask every worker for a sign of life."""
        self._wakeup()

    def stop(self) -> None:
        """Have a running capture end soon. Any thread."""
        self.should_stop = True
        self._line.wake()

    def close(self) -> None:
        """Hear no more."""
        self._line.close()

    def __enter__(self) -> EventReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StopCapture(Exception):
    """A handler has heard enough."""
