"""How a thread that waits for a store is woken from inside its own process.

Used by the drivers' consumers and watchers. Knows nothing of any store.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import weakref
from collections.abc import Sequence

# Not os.write: eventlet makes that wait for its hub first, and refuses two green threads that ring
# at once. On a descriptor that does not block there is nothing to wait for.
_native = sys.modules.get("posix") or sys.modules["nt"]


class SelfPipe:
    """A pipe to oneself: ``ring`` from anywhere, ``wait`` in the thread that owns it.

    A ring is remembered until the next ``wait``, so none is lost between looking and waiting.
    ``ring`` takes no lock and allocates nothing, so signal handlers may call it.
    """

    def __init__(self, *others: int) -> None:
        """``others``: more descriptors whose readability ends a wait. The caller drains them."""
        self._others = frozenset(others)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        # Race: ring() in one thread against close() in the owner's. Were the writing end closed by
        # close(), its number could be some other file's by the time ring() writes. So it lives
        # exactly as long as the object that ring() needs, and only the reading end is closed.
        weakref.finalize(self, os.close, self._writer)
        # Looked up at this moment, not at import: gevent and eventlet replace it when they patch.
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._reader, *others):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def ring(self) -> None:
        """End the current or the next wait. Any thread and signal handlers may call it.

        Does nothing once the pipe is closed.
        """
        with contextlib.suppress(OSError):  # full: a ring is already remembered; or nobody reads
            _native.write(self._writer, b"!")

    def wait(self, timeout: float | None) -> Sequence[int]:
        """Wait for a ring or for one of the other descriptors; at most ``timeout`` seconds.

        Returns the other descriptors that are readable. Rings are used up.
        """
        ready = [
            key.fd for key, _ in self._selector.select(None if timeout is None else max(0, timeout))
        ]
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                while len(_native.read(self._reader, 4096)) == 4096:
                    pass
        return [descriptor for descriptor in ready if descriptor in self._others]

    def close(self) -> None:
        """Let go of the descriptors. May be called twice."""
        if self._reader < 0:
            return
        self._selector.close()
        os.close(self._reader)
        self._reader = -1
