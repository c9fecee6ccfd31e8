"""The result port of the memory driver. Called through ``umbel.ports`` only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from umbel.drivers.memory.results import Mailbox, MemoryResults
from umbel.drivers.memory.store import MemoryStore
from umbel.model.join import JoinParts, JoinStep
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp
from umbel.ports import ResultBackend, Watcher
from umbel.version import __version__


class MemoryResultBackend(ResultBackend):
    """Results that live as long as the process."""

    counts_joins = True

    def __init__(self, store: MemoryStore) -> None:
        self.memory = store
        """Compared by the consumer: the same store settles in one atomic step."""

    def store(self, records: Sequence[ResultRecord]) -> None:
        self.memory.results.store(records)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        return self.memory.results.fetch(task_ids)

    def open_watcher(self) -> MemoryWatcher:
        return MemoryWatcher(self.memory.results)

    def forget(self, task_ids: Sequence[str]) -> None:
        self.memory.results.forget(task_ids)

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        self.memory.results.store_group(group_id, document, expires)

    def fetch_group(self, group_id: str) -> bytes | None:
        return self.memory.results.fetch_group(group_id)

    def forget_group(self, group_id: str) -> None:
        self.memory.results.forget_group(group_id)

    def join(self, steps: Sequence[JoinStep]) -> Sequence[FollowUp]:
        return self.memory.join(steps)

    def fetch_join(self, join_id: str) -> JoinParts | None:
        return self.memory.fetch_join(join_id)

    def ping(self) -> str:
        return f"Umbel memory {__version__}"

    def close(self) -> None:
        """Nothing to let go of: the results stay for the next use."""


class MemoryWatcher(Watcher):
    """Hears of results stored by any thread of this process."""

    def __init__(self, results: MemoryResults) -> None:
        self._results = results
        self._mailbox = Mailbox()
        self._watched: set[str] = set()
        self._woken = False

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        self._watched.update(task_ids)
        return self._results.watch(task_ids, self._mailbox)

    def unwatch(self, task_ids: Sequence[str]) -> None:
        self._watched.difference_update(task_ids)
        self._results.unwatch(task_ids, self._mailbox)

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        deadline = time.monotonic() + timeout
        while True:
            woken, self._woken = self._woken, False
            arrived = self._results.collect(self._mailbox)
            remaining = deadline - time.monotonic()
            if arrived or woken or remaining <= 0:
                return arrived
            self._mailbox.pipe.wait(remaining)

    def wake(self) -> None:
        self._woken = True
        self._mailbox.pipe.ring()

    def close(self) -> None:
        self._results.unwatch(list(self._watched), self._mailbox)
        self._watched.clear()
        self._mailbox.pipe.close()
