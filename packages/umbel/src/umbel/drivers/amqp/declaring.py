"""Making queues, exchanges and delays exist, once for each connection.

Used by ``publisher``, ``consumer`` and ``broker``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pamqp import base

from umbel.drivers.amqp import topology
from umbel.drivers.amqp.connection import Connection, Refused, Reply
from umbel.drivers.amqp.frames import method_frame
from umbel.drivers.amqp.refusals import ACCESS_REFUSED, declaring
from umbel.model.queues import Queue

logger = logging.getLogger(__name__)


class Declarer:
    """What was declared on one channel of one connection. One thread at a time.

    A user without the permission to configure is not stopped: what is declared by others is there,
    and what is not is told by the broker when a message finds no queue.
    """

    def __init__(self, connection: Connection, channel: int) -> None:
        """``channel``: its own, for the broker closes the channel of what it refuses."""
        self._connection = connection
        self._channel = channel
        self._generation = -1
        self._delayed: set[str] = set()
        self._names: set[str] = set()
        self._may = True

    def knows(self, queue: Queue) -> bool:
        """Tell whether the queue was declared on this connection."""
        return queue.name in self._names and self._generation == self._connection.generation

    def declare(self, queue: Queue, deadline: float) -> None:
        """Make the queue and its exchange exist.

        Raises ImproperlyConfigured where the broker has them otherwise, OperationalError.
        """
        self._renew(deadline)
        if queue.name in self._names:
            return
        self._run(topology.queue_declarations(queue), deadline)
        self._names.add(queue.name)

    def declare_delay(self, queue: Queue, deadline: float) -> None:
        """Make the way of delayed messages to this queue exist. Raises as ``declare``."""
        self._renew(deadline)
        if not self._delayed:
            self._run(
                topology.delay_declarations(self._connection.address.delay_queue_type), deadline
            )
        if queue.name not in self._delayed:
            self._run(topology.delay_bindings(queue), deadline)
            self._delayed.add(queue.name)

    def call(self, method: base.Frame, reply: type[Reply], what: str, deadline: float) -> Reply:
        """Ask for one thing. ``what`` names it in errors: ``queue 'celery'``.

        Raises ImproperlyConfigured, Unroutable where it is not there, OperationalError.
        """
        self._renew(deadline)
        connection = self._connection
        try:
            return connection.call(self._channel, method, reply, deadline)
        except Refused as error:
            connection.open_channel(self._channel, deadline)
            raise declaring(error.code, error.text, what, connection.address) from error

    def forget(self) -> None:
        """Declare everything again when it is used next: something was deleted meanwhile."""
        self._names.clear()
        self._delayed.clear()

    def _renew(self, deadline: float) -> None:
        if self._generation != self._connection.generation:
            self._connection.open_channel(self._channel, deadline)
            self._generation = self._connection.generation
            self._may = True
            self.forget()

    def _run(
        self, declarations: Iterable[tuple[str, base.Frame, type[base.Frame]]], deadline: float
    ) -> None:
        if not self._may:
            return
        connection, channel = self._connection, self._channel
        made = list(declarations)
        with connection.losing():
            connection.send(b"".join(method_frame(channel, each[1]) for each in made), deadline)
        for what, _, reply in made:
            try:
                connection.expect(channel, reply, deadline)
            except Refused as error:
                connection.open_channel(channel, deadline)
                if error.code == ACCESS_REFUSED:
                    self._may = False
                    logger.info("Nothing is declared on %s: %s", connection.address.url, error.text)
                    return
                raise declaring(error.code, error.text, what, connection.address) from error
