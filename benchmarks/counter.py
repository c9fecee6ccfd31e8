"""The harness's end of the tally: makes the file, reads how many calls have finished.

Called by ``scenarios``. The other end is ``peers/tally.py``.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from benchmarks.peers.tally import SIZE


class Counter:
    """A fresh tally file in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "tally"
        self.path.write_bytes(bytes(SIZE))
        with self.path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("Q")

    def value(self) -> int:
        """Return how many calls have finished in all processes."""
        return sum(self._cells)
