"""``app.events``: hearing what workers tell, and telling something oneself."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.clock import LogicalClock
from umbel.config.bus_names import bus_names
from umbel.errors import NotSupported, OperationalError
from umbel.model.bus import Notice
from umbel.monitoring import cluster_state
from umbel.monitoring.emitter import Emitter
from umbel.monitoring.receiver import EventReceiver, Handler
from umbel.ports import Bus, Line
from umbel.wire import event_message
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.model.message import TaskMessage
    from umbel.model.queues import Outgoing

logger = logging.getLogger("umbel.events")

PATIENCE = 4.0
"""Seconds that telling one event may take."""


class Events:
    """The stream of events of one app. Any thread may use it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._default: EventDispatcher | None = None
        self._lock = threading.Lock()

    def Receiver(  # noqa: N802 - Celery's name
        self,
        channel: Any = None,  # noqa: ARG002 - Celery's; the app has its own connections
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,  # noqa: ARG002 - Celery's
        accept: Any = None,
        **_: Any,
    ) -> EventReceiver:
        """Return what hears events; see ``EventReceiver.capture``. Raises NotSupported."""
        settings = self.app.settings
        accepted = accept or {settings.event_serializer, "json"}
        return EventReceiver(
            self._bus(),
            bus_names(settings),
            accept=SERIALIZERS.content_types(accepted),
            handlers=handlers,
            routing_key=routing_key,
            node_id=node_id,
            wakeup=lambda: _ignore(self.app.control.heartbeat()),
        )

    def State(self, *args: Any, **options: Any) -> cluster_state.State:  # noqa: N802 - Celery's name
        """Return a model of the fleet that events are given to."""
        return cluster_state.State(*args, **options)

    def Dispatcher(  # noqa: N802 - Celery's name
        self,
        connection: Any = None,  # noqa: ARG002 - Celery's
        hostname: str | None = None,
        channel: Any = None,  # noqa: ARG002 - Celery's
        enabled: bool = True,
        **_: Any,
    ) -> EventDispatcher:
        """Return what tells events. Raises NotSupported."""
        return EventDispatcher(self.app, self._bus(), hostname=hostname, enabled=enabled)

    def default_dispatcher(self, **_: Any) -> EventDispatcher:
        """Return the dispatcher that all of this process share. Raises NotSupported."""
        with self._lock:
            if self._default is None:
                self._default = self.Dispatcher()
            return self._default

    def _bus(self) -> Bus:
        bus = self.app.connections.bus
        if bus is None:
            raise NotSupported(
                "This broker carries no events: they need another, such as redis:// or sqlite://."
            )
        return bus

    def tell_quietly(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Tell an event if that can be; a task or a call does not fail for its monitor."""
        try:
            self.default_dispatcher().send(type_, **fields)
        except NotSupported:
            pass  # nobody listens on this broker
        except OperationalError as error:
            logger.warning("The event %s was not told: %s", type_, error)

    def tell_sent(self, message: TaskMessage, outgoing: Outgoing) -> None:
        """Tell that the broker has a task: ``task-sent``."""
        headers, queue = outgoing.message.headers, outgoing.queue
        told = {
            "uuid": message.id,
            "root_id": message.root_id,
            "parent_id": message.parent_id,
            "name": message.task,
            "args": headers.get("argsrepr"),
            "kwargs": headers.get("kwargsrepr"),
            "retries": message.retries,
            "eta": None if message.eta is None else message.eta.isoformat(),
            "expires": None if message.expires is None else message.expires.isoformat(),
            "queue": queue.name,
            "exchange": queue.exchange,
            "routing_key": queue.name if queue.routing_key is None else queue.routing_key,
        }
        self.tell_quietly("task-sent", told)


class EventDispatcher:
    """Tells events, one by one. Any thread; a child process gets a connection of its own."""

    def __init__(
        self, app: App, bus: Bus, *, hostname: str | None = None, enabled: bool = True
    ) -> None:
        settings = app.settings
        self.hostname = hostname or f"gen{os.getpid()}@{socket.gethostname()}"
        self.enabled = enabled
        self._bus = bus
        self._topic = bus_names(settings).events
        self._serializer = SERIALIZERS.get(settings.event_serializer)
        self._clock = LogicalClock()
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._pid = 0

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's
        """Tell one event now. Raises EncodeError and OperationalError."""
        if not self.enabled:
            return
        with self._lock:
            if self._line is None or self._pid != os.getpid():
                self._line, self._pid = self._bus.open_line(), os.getpid()
            fields.pop("retry", None)
            fields.pop("blind", None)
            emitter = Emitter(self.hostname, self._pid, self._clock, time.time)
            message = event_message.encode_one(emitter.make(type, fields), self._serializer)
            key = event_message.key_of(type)
            self._line.tell([Notice(self._topic, key, message)], timeout=PATIENCE)

    def enable(self) -> None:
        """Tell from now on."""
        self.enabled = True

    def disable(self) -> None:
        """Tell nothing from now on."""
        self.enabled = False

    def close(self) -> None:
        """Let go of the connection; the next event opens another."""
        with self._lock:
            if self._line is not None and self._pid == os.getpid():
                self._line.close()
            self._line = None

    def __enter__(self) -> EventDispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ignore(_: object) -> None:
    return None
