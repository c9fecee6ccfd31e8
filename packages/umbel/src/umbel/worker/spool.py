"""Reports that an executor has not sent yet, in memory that outlives it.

An executor of one slot runs short tasks faster than it is worth a system call each (about 3 us with
the wake-up at the other end, of 25 for a whole task). It keeps reports for a millisecond here,
in a mapping shared with the supervisor, and sends them in one frame. Because of the sharing nothing
is lost when the executor dies in the task behind them, and nothing is late when that task is long:
the supervisor reads them by itself (``pools.process``).

One writer, the executor. Its state is one aligned word, stored at once: how often the spool was
emptied, how many reports are in it, their bytes. So the reader sees a state from before or after a
step, never from between, and knows by the same word whether what it copied was changed meanwhile.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

SIZE = 262_144
_START = 64
_STATE = struct.Struct("Q")
_HEAD = struct.Struct(">IBI")
"""Of a frame: its length, then msgpack's "array of so many"."""
_ARRAY = 0xDD
_HEAD_IN_FRAME = 5
_MOST = 0xFFFF


class Spool:
    """A shared mapping; each side makes its own from the same descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Map it. The descriptor stays the caller's, and may be closed."""
        self._map = mmap.mmap(descriptor, SIZE)
        self._emptied = 0
        self._count = 0
        self._end = _START

    @property
    def count(self) -> int:
        """How many are kept here: the writer's own knowledge."""
        return self._count

    def put(self, packed: bytes) -> bool:
        """Keep one packed report. False when there is no room. Writer only."""
        end = self._end + len(packed)
        if end > SIZE or self._count == _MOST:
            return False
        self._map[self._end : end] = packed
        self._end = end
        self._count += 1
        self._store()
        return True

    def clear(self) -> None:
        """Forget what was kept: it was sent. Writer only."""
        self._emptied = (self._emptied + 1) & 0xFFFF
        self._count = 0
        self._end = _START
        self._store()

    def frame(self) -> bytes:
        """Return what is kept as one frame; nothing when it is empty or just being emptied."""
        state = self._load()
        count, end = (state >> 32) & 0xFFFF, state & 0xFFFF_FFFF
        if not count:
            return b""
        body = self._map[_START:end]
        if self._load() >> 48 != state >> 48:
            return b""  # it was emptied meanwhile: what was here comes over the socket
        return _HEAD.pack(len(body) + _HEAD_IN_FRAME, _ARRAY, count) + body

    def close(self) -> None:
        """Let go of the mapping."""
        self._map.close()

    def _store(self) -> None:
        # In native form, so that it is one store of eight bytes and not eight stores.
        _STATE.pack_into(self._map, 0, self._emptied << 48 | self._count << 32 | self._end)

    def _load(self) -> int:
        (state,) = _STATE.unpack_from(self._map, 0)
        return int(state)


def open_spool() -> int:
    """Return the descriptor of new memory for one spool."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("umbel-reports")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, SIZE)
    return descriptor
