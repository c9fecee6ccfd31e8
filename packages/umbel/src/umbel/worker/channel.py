"""An executor's end of its private socket: assignments in, reports out.

Used inside executor processes only. Sending may happen on any thread; reading belongs to one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from umbel.model.assignment import Order, Word
from umbel.worker.frames import FrameReader, pack, read_some


class SupervisorGone(Exception):
    """The supervisor closed the socket or died: nobody would settle what runs here."""


class Channel:
    """Frames to and from the supervisor over one blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader: FrameReader[Order] = FrameReader(Order)
        self._sending = threading.Lock()

    def send(self, *words: Word) -> None:
        """Say these now; they are never kept back, so a long task behind them delays nothing.

        Raises SupervisorGone.
        """
        try:
            with self._sending:
                self.sock.sendall(pack(words))
        except OSError as error:
            raise SupervisorGone from error

    def hear(self) -> Sequence[Order]:
        """Wait for orders. Raises SupervisorGone."""
        while True:
            orders = self.parse(read_some(self.sock))
            if orders:
                return orders

    def look(self) -> Sequence[Order]:
        """Return the orders that are there now, without waiting. Raises SupervisorGone."""
        orders: list[Order] = []
        while True:
            try:
                data = self.sock.recv(262_144, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return orders
            except OSError as error:
                raise SupervisorGone from error
            orders.extend(self.parse(data))

    def parse(self, data: bytes | None) -> Sequence[Order]:
        """Cut what was read into orders. Raises SupervisorGone at the end of the stream."""
        if data is None:
            return ()
        if not data:
            raise SupervisorGone
        return self._reader.feed(data)
