"""Which task ids must not run, in little memory. Owned by the intake thread.

The latest are kept as they are. Older ones are kept as 64-bit digests in sorted blocks, 8 bytes
each: two million of them are 16 MB, where the ids themselves would be 300. Two ids of the same
digest are as good as impossible (one in 10^13 for a task that meets two million).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Container, Iterable
from hashlib import blake2b

LATEST = 100_000
"""Ids kept as they are."""
BLOCK = 10_000
"""Ids that become digests at once."""
BLOCKS = 200
"""Blocks of digests; the oldest is forgotten when there is one more."""


class RevokedIds:
    """Ids, the oldest forgotten beyond ``LATEST + BLOCK * BLOCKS``. One thread."""

    def __init__(self, latest: int = LATEST, block: int = BLOCK, blocks: int = BLOCKS) -> None:
        self._most = latest
        self._block = block
        self._latest: dict[str, None] = {}
        self._older: deque[array[int]] = deque(maxlen=blocks)
        self.known: Container[str] = self._latest
        """What to ask whether an id is in it, until the next ``add``: a plain dict while it can."""

    def add(self, task_ids: Iterable[str]) -> None:
        """Note that these must not run."""
        for task_id in task_ids:
            self._latest.pop(task_id, None)  # told again: it is among the latest now
            self._latest[task_id] = None
            if len(self._latest) > self._most:
                self._condense()

    def latest(self) -> tuple[str, ...]:
        """Return the latest ids, the oldest first. Any thread: one step of the interpreter."""
        return tuple(self._latest)

    def __contains__(self, task_id: object) -> bool:
        if task_id in self._latest:
            return True
        digest = _digest(str(task_id))
        for block in self._older:
            at = bisect_left(block, digest)
            if at < len(block) and block[at] == digest:
                return True
        return False

    def _condense(self) -> None:
        oldest = [task_id for task_id, _ in zip(self._latest, range(self._block), strict=False)]
        for task_id in oldest:
            del self._latest[task_id]
        self.known = self
        self._older.append(array("Q", sorted(map(_digest, oldest))))


def _digest(task_id: str) -> int:
    return int.from_bytes(blake2b(task_id.encode(errors="surrogatepass"), digest_size=8).digest())
