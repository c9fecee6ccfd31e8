"""What the memory driver remembers of finished tasks, and who waits to hear of them.

Called by ``store.py`` (a settlement's records) and ``result_backend.py``. Shares the store's lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from umbel.drivers.selfpipe import SelfPipe
from umbel.model.outcome import ResultRecord

SWEEP_EVERY = 1024
"""Expired results are dropped once in so many stores, so that the cost of one stays constant."""


class Mailbox:
    """Where records for one watcher arrive. Written under the store's lock."""

    def __init__(self) -> None:
        self.pipe = SelfPipe()
        self.arrived: deque[ResultRecord] = deque()


class MemoryResults:
    """Records and groups with their expiry. Thread-safe; every method is one atomic step."""

    def __init__(self, now: Callable[[], float], lock: threading.RLock) -> None:
        self._now = now
        self._lock = lock
        self._records: dict[str, tuple[ResultRecord, float | None]] = {}
        self._groups: dict[str, tuple[bytes, float | None]] = {}
        self._watchers: dict[str, set[Mailbox]] = {}
        self._until_sweep = SWEEP_EVERY

    def store(self, records: Sequence[ResultRecord]) -> None:
        """Write these, except over a SUCCESS, and tell the watchers."""
        with self._lock:
            now = self._now()
            for record in records:
                if self._succeeded(record.task_id, now):
                    continue
                until = None if record.expires is None else now + record.expires
                self._records[record.task_id] = (record, until)
                for mailbox in self._watchers.get(record.task_id, ()):
                    mailbox.arrived.append(record)
                    mailbox.pipe.ring()
            self._until_sweep -= len(records)
            if self._until_sweep <= 0:
                self._until_sweep = max(SWEEP_EVERY, len(self._records))
                self._records = {k: v for k, v in self._records.items() if _alive(v[1], now)}
                self._groups = {k: v for k, v in self._groups.items() if _alive(v[1], now)}

    def _succeeded(self, task_id: str, now: float) -> bool:
        held = self._records.get(task_id)
        return held is not None and held[0].state == "SUCCESS" and _alive(held[1], now)

    def fetch(self, task_ids: Iterable[str]) -> dict[str, ResultRecord]:
        """Return what is there and has not expired."""
        with self._lock:
            now = self._now()
            found = ((task_id, self._records.get(task_id)) for task_id in task_ids)
            return {task_id: held[0] for task_id, held in found if held and _alive(held[1], now)}

    def forget(self, task_ids: Iterable[str]) -> None:
        """Delete the records."""
        with self._lock:
            for task_id in task_ids:
                self._records.pop(task_id, None)

    def watch(self, task_ids: Sequence[str], mailbox: Mailbox) -> Mapping[str, ResultRecord]:
        """Send records of these ids to ``mailbox`` from now on; return what is there."""
        with self._lock:
            for task_id in task_ids:
                self._watchers.setdefault(task_id, set()).add(mailbox)
            return self.fetch(task_ids)

    def unwatch(self, task_ids: Iterable[str], mailbox: Mailbox) -> None:
        """Send no more of these, and take back what had arrived unread."""
        with self._lock:
            gone = set(task_ids)
            for task_id in gone:
                watchers = self._watchers.get(task_id)
                if watchers is not None:
                    watchers.discard(mailbox)
                    if not watchers:
                        del self._watchers[task_id]
            kept = [record for record in mailbox.arrived if record.task_id not in gone]
            mailbox.arrived = deque(kept)

    def collect(self, mailbox: Mailbox) -> list[ResultRecord]:
        """Take what has arrived."""
        with self._lock:
            arrived = list(mailbox.arrived)
            mailbox.arrived.clear()
            return arrived

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        """Remember the document for ``expires`` seconds, or for good."""
        with self._lock:
            self._groups[group_id] = (document, None if expires is None else self._now() + expires)

    def fetch_group(self, group_id: str) -> bytes | None:
        """Return the document unless it has expired."""
        with self._lock:
            document, until = self._groups.get(group_id, (None, None))
            return document if _alive(until, self._now()) else None

    def forget_group(self, group_id: str) -> None:
        """Delete the document."""
        with self._lock:
            self._groups.pop(group_id, None)


def _alive(until: float | None, now: float) -> bool:
    return until is None or until > now
