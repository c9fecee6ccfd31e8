"""Waiting for a socket or for ``wake``, whichever comes first, across connections that change.

Used by the consumers and watchers of the drivers that have a socket. Knows nothing of any store.
"""

from __future__ import annotations

from typing import Protocol

from umbel.drivers.selfpipe import SelfPipe


class Wire(Protocol):
    """What can be waited on. ``generation`` is another number after every new connection."""

    generation: int

    def fileno(self) -> int: ...


class Doorbell:
    """Belongs to the thread that waits, except ``ring``."""

    def __init__(self) -> None:
        self._rung = False
        self._generation = -1
        self._pipe = SelfPipe()

    def ring(self) -> None:
        """End the current wait, or the next. Any thread and signal handlers may call it."""
        # Race: ring() here, wait() in the owner's thread putting a new pipe in place. The flag is
        # set before the pipe is looked up, and wait() looks at the flag after it has put the new
        # pipe in place: whichever pipe is rung, the flag is seen.
        self._rung = True
        self._pipe.ring()

    def answer(self) -> bool:
        """Tell whether it rang since the last answer."""
        if self._rung:
            self._rung = False
            return True
        return False

    def wait(self, connection: Wire, timeout: float) -> bool:
        """Wait until the connection has something to read, it rings, or the time is up.

        Returns whether there is something to read.
        """
        if self._generation != connection.generation:
            self._generation = connection.generation
            former, self._pipe = self._pipe, SelfPipe(connection.fileno())
            former.close()
        if self._rung:
            return False
        return bool(self._pipe.wait(timeout))

    def close(self) -> None:
        """Let go of the descriptors. Ringing afterwards does nothing."""
        self._pipe.close()
