"""A bell that a selector hears: how other threads and signal handlers wake the pool's thread."""

from __future__ import annotations

import socket


class Bell:
    """``ring`` from anywhere; ``fileno`` for the selector and ``drain`` belong to one thread."""

    def __init__(self) -> None:
        self._ringing, self._hearing = socket.socketpair()
        self._ringing.setblocking(False)
        self._hearing.setblocking(False)

    def fileno(self) -> int:
        """What becomes readable when it rings."""
        return self._hearing.fileno()

    def ring(self) -> None:
        """Ring; once is as good as many times. Does nothing when it is closed."""
        try:
            self._ringing.send(b"!")
        except OSError:
            pass  # it is full and rings already, or everything is over

    def drain(self) -> None:
        """Use up the rings."""
        try:
            while self._hearing.recv(4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Let go of the descriptors."""
        self._ringing.close()
        self._hearing.close()
