"""An executor's end of its private socket: assignments in, reports out.

Used inside executor processes only. Sending may happen on any thread; reading belongs to one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from umbel.model.assignment import Order, Word
from umbel.worker.frames import FrameReader, pack, pack_word, read_some, write_all
from umbel.worker.spool import Spool


class SupervisorGone(Exception):
    """The supervisor closed the socket or died: nobody would settle what runs here."""


class Channel:
    """Frames to and from the supervisor over one socket, whose mode does not matter."""

    def __init__(self, sock: socket.socket, spool: Spool) -> None:
        self.sock = sock
        self._spool = spool
        self._descriptor = sock.fileno()
        self._reader: FrameReader[Order] = FrameReader(Order)
        self._sending = threading.Lock()

    def send(self, *words: Word) -> None:
        """Say these now, and before them what was kept. Raises SupervisorGone."""
        self.flush()
        self._send(pack(words))

    def keep(self, word: Word) -> None:
        """Say this with the next ``flush`` or ``send``; it is safe from now on. One thread only.

        The supervisor finds it by itself should this process die or be busy. Raises SupervisorGone.
        """
        if not self._spool.put(pack_word(word)):
            self.send(word)

    def flush(self) -> None:
        """Say what was kept. Raises SupervisorGone."""
        if self._spool.count:
            self._send(self._spool.frame())
            self._spool.clear()

    @property
    def keeps(self) -> bool:
        """True while something is kept."""
        return self._spool.count > 0

    def _send(self, frame: bytes) -> None:
        try:
            with self._sending:
                write_all(self._descriptor, frame)
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
