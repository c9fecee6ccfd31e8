"""How processes that share one database wake each other: channels, and who listens just now.

A channel is NOTIFY's. A key is that of an advisory lock, held by every session that waits; who
brings something rings only where it is held (``ring`` in sql/queries.sql), so a busy system sends
no notification at all. Names are hashed, for a channel is at most 63 bytes.

Called by everybody who waits and everybody who has committed something. Opens nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

_LONGEST_PAYLOAD = 7900
"""Bytes; PostgreSQL allows less than 8000."""
LOOK_AT_ALL = "*"
"""The payload where ids do not fit: whoever watches looks for all of its own."""


class Bell(msgspec.Struct, frozen=True):
    """One thing that can be waited for."""

    key: int
    channel: str


class Bells:
    """The bells of one schema."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._queues: dict[str, Bell] = {}
        self.results = self._bell("results")
        self.control = self._bell("control")
        """Rung by revocations, always: every worker listens."""

    def queue(self, name: str) -> Bell:
        """Return the bell of a queue."""
        bell = self._queues.get(name)
        if bell is None:
            bell = self._queues[name] = self._bell(f"queue/{name}")
        return bell

    def join(self, join_id: str) -> int:
        """Return the key of the lock that who changes this join holds."""
        return self._bell(f"join/{join_id}").key

    def timetable(self, name: str) -> int:
        """Return the key of the lock that who changes this timetable holds."""
        return self._bell(f"timetable/{name}").key

    def mailbox(self, number: int) -> str:
        """Return the channel of a mailbox of the bus; whoever writes to it rings, always."""
        return self._bell(f"mailbox/{number}").channel

    def _bell(self, name: str) -> Bell:
        digest = hashlib.blake2b(f"{self._schema}/{name}".encode(), digest_size=16).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        return Bell(key, f"umbel_{digest.hex()}")

    def of_queues(self, names: Iterable[str]) -> list[tuple[Bell, str]]:
        """Return what to ring after messages came to these queues."""
        return [(self.queue(name), "") for name in dict.fromkeys(names)]

    def of_results(self, task_ids: Iterable[str]) -> list[tuple[Bell, str]]:
        """Return what to ring after results of these tasks were stored."""
        return [(self.results, payload) for payload in payloads(task_ids)]


def payloads(task_ids: Iterable[str]) -> list[str]:
    """Return the ids as few texts that a notification can carry."""
    texts: list[str] = []
    line: list[str] = []
    size = 0
    for task_id in task_ids:
        length = len(task_id.encode("utf-8", "replace")) + 1
        if "\n" in task_id or task_id == LOOK_AT_ALL or length > _LONGEST_PAYLOAD:
            return [LOOK_AT_ALL]
        if size + length > _LONGEST_PAYLOAD:
            texts.append("\n".join(line))
            line, size = [], 0
        line.append(task_id)
        size += length
    if line:
        texts.append("\n".join(line))
    return texts


def ids_in(payload: str) -> Sequence[str] | None:
    """Return the task ids a notification carries; None where one must look at all."""
    return None if payload == LOOK_AT_ALL else payload.split("\n")
