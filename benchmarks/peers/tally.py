"""Counts finished task calls for the harness: one 8-byte slot per process in a shared file.

Imported by the tasks of every peer, in the peer's own environment: standard library only. A count
costs some 0.2 us, the same for all. The harness makes the file and adds the slots up.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

SLOTS = 256
SIZE = SLOTS * 8


class _Slot:
    """The slot of this process, taken at the first count after start or fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cells: memoryview | None = None
        self.index = 0

    def take(self) -> memoryview:
        path = Path(os.environ["BENCH_TALLY"])
        for index in range(SLOTS):
            try:
                (path.parent / f"{path.name}.{index}").touch(exist_ok=False)
            except FileExistsError:
                continue
            with path.open("r+b") as file:
                self.cells = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("Q")
            self.index = index
            return self.cells
        raise RuntimeError(f"benchmarks: more than {SLOTS} processes count tasks in {path}")


_slot = _Slot()


def _forget() -> None:
    global _slot  # noqa: PLW0603 - a forked child must not count in its parent's slot
    _slot = _Slot()


os.register_at_fork(after_in_child=_forget)


def count() -> None:
    """Count one finished call. Any thread may."""
    slot = _slot
    with slot.lock:
        cells = slot.cells
        if cells is None:
            cells = slot.take()
        cells[slot.index] += 1
