"""Hearing of results: a notification carries the ids of what was stored, the documents are read.

``result_backend`` opens watchers. While one is open it holds the lock that says so, and whoever
stores results rings (``bells``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from umbel.drivers.doorbell import Doorbell
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells, ids_in
from umbel.drivers.postgres.connection import BACKEND, Connection, Rows
from umbel.model.outcome import ResultRecord
from umbel.ports import Watcher

LOOK_ANYWAY = 30.0
"""Seconds after which everything watched is read again: covers a process that died between the
commit of a result and the ring."""


class PostgresWatcher(Watcher):
    """One thread at a time, except ``wake``."""

    def __init__(self, address: Address, bells: Bells) -> None:
        self._connection = Connection(address, BACKEND)
        self._bell = bells.results
        self._doorbell = Doorbell()
        self._watched: dict[str, None] = {}
        self._found: dict[str, ResultRecord] = {}
        """Read after a reconnect, and not handed over yet."""
        self._generation = -1
        self._look_at = 0.0

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        self._session()
        self._watched.update(dict.fromkeys(task_ids))
        return self._read(list(task_ids))

    def _read(self, task_ids: list[str]) -> dict[str, ResultRecord]:
        if not task_ids:
            return {}
        return _records(self._connection.one("fetch_results", tasks=task_ids))

    def unwatch(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._watched.pop(task_id, None)
            self._found.pop(task_id, None)

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        deadline = time.monotonic() + timeout
        while True:
            self._session()
            self._connection.listen_now()
            told, self._found = self._found, {}
            told.update(self._heard())
            now = time.monotonic()
            if told or now >= deadline or self._doorbell.answer():
                return list(told.values())
            if now >= self._look_at:
                self._look_at = now + LOOK_ANYWAY
                return list(self._read(list(self._watched)).values())
            self._doorbell.wait(self._connection, min(deadline, self._look_at) - now)

    def _heard(self) -> dict[str, ResultRecord]:
        ids: dict[str, None] = {}
        heard = self._connection.heard
        while heard:
            told = ids_in(heard.popleft()[1])
            ids.update(self._watched if told is None else dict.fromkeys(told))
        wanted = [task_id for task_id in ids if task_id in self._watched]
        return self._read(wanted)

    def _session(self) -> None:
        """Have a session that listens. Raises BackendUnavailable."""
        connection = self._connection
        connection.ensure()
        if connection.generation == self._generation:
            return
        # The lock is held and the channel heard before anything is read: whoever stores a result
        # afterwards sees the lock, and what was stored before is read.
        connection.run(
            [
                connection.listen(self._bell.channel),
                connection.step("wait_for", keys=[self._bell.key]),
            ]
        )
        self._found.update(self._read(list(self._watched)))
        self._generation = connection.generation
        self._look_at = time.monotonic() + LOOK_ANYWAY

    def wake(self) -> None:
        self._doorbell.ring()

    def close(self) -> None:
        self._connection.close()
        self._doorbell.close()


def record_of(row: tuple[Any, ...]) -> ResultRecord:
    """Return the record in a row of ``fetch_results``."""
    task_id, state, final, document = row
    return ResultRecord(task_id=task_id, state=state, document=bytes(document), final=final)


def _records(rows: Rows) -> dict[str, ResultRecord]:
    return {row[0]: record_of(row) for row in rows}
