"""Connections for threads that come and go.

``broker`` and ``result_backend`` have one each. Publishers, consumers and watchers have a
connection of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator

from umbel.drivers.redis.address import Address
from umbel.drivers.redis.connection import Connection, Role

_MOST_IDLE = 8


class ConnectionPool:
    """Connections for threads that come and go. Thread-safe; new in a forked child."""

    def __init__(self, address: Address, role: Role) -> None:
        self.address = address
        self.role = role
        self._idle: deque[Connection] = deque()
        self._closing = threading.Lock()

    @contextlib.contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection to the calling thread. It may have to connect first."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self.address, self.role)
        try:
            yield connection
        finally:
            # Race: several threads may each see room and append; the pool then keeps one
            # connection per such thread too many, which the next close() ends.
            if connection.connected and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.drop()

    def deadline(self) -> float:
        """Return when a call that begins now must have its reply."""
        return time.monotonic() + self.address.connect_timeout + self.address.socket_timeout

    def close(self) -> None:
        """Drop what is idle."""
        with self._closing:
            while self._idle:
                self._idle.pop().drop()
