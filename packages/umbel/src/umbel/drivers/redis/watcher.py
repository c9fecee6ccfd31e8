"""Hearing of results: one subscription per task id, and a look at what is there already.

``result_backend`` opens watchers. RESP3 lets one connection subscribe and read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from umbel.drivers.documents import record_of
from umbel.drivers.doorbell import Doorbell
from umbel.drivers.redis.address import Address
from umbel.drivers.redis.connection import BACKEND, Connection, pack
from umbel.drivers.redis.keys import ResultKeys
from umbel.model.outcome import ResultRecord
from umbel.ports import Watcher

_CHUNK = 1000


class RedisWatcher(Watcher):
    """One thread at a time, except ``wake``."""

    def __init__(self, address: Address, keys: ResultKeys) -> None:
        self._address = address
        self._keys = keys
        self._connection = Connection(address, BACKEND)
        self._generation = -1
        self._bell = Doorbell()
        self._watched: dict[str, None] = {}
        self._found: dict[str, ResultRecord] = {}
        """Read after a reconnect, and not handed over yet."""

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        deadline = self._deadline()
        self._session(deadline)
        self._watched.update(dict.fromkeys(task_ids))
        return self._listen(task_ids, deadline)

    def _listen(self, task_ids: Sequence[str], deadline: float) -> dict[str, ResultRecord]:
        """Subscribe, then read; the server carries them out in that order."""
        found: dict[str, ResultRecord] = {}
        for start in range(0, len(task_ids), _CHUNK):
            chunk = task_ids[start : start + _CHUNK]
            keys = tuple(map(self._keys.task, chunk))
            data = pack(("SUBSCRIBE", *keys)) + pack(("MGET", *keys))
            (documents,) = self._connection.exchange(data, 1, deadline)
            if isinstance(documents, Exception):
                raise self._connection.refused(documents)
            for task_id, document in zip(chunk, documents, strict=True):
                if document is not None:
                    found[task_id] = record_of(task_id, document)
        return found

    def unwatch(self, task_ids: Sequence[str]) -> None:
        gone = [task_id for task_id in task_ids if task_id in self._watched]
        for task_id in gone:
            del self._watched[task_id]
            self._found.pop(task_id, None)
        if gone and self._connection.connected and self._generation == self._connection.generation:
            # No reply is waited for: what comes in between is dropped by ``_heard``.
            keys = tuple(map(self._keys.task, gone))
            self._connection.exchange(pack(("UNSUBSCRIBE", *keys)), 0, self._deadline())

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        deadline = time.monotonic() + timeout
        interval = self._address.health_check_interval or timeout
        while True:
            self._session(self._deadline())
            if self._found:
                found, self._found = self._found, {}
                return list(found.values())
            self._connection.take_pushes()
            heard = list(self._heard())
            now = time.monotonic()
            if heard or now >= deadline or self._bell.answer():
                return heard
            remaining = deadline - now
            if not self._bell.wait(self._connection, min(remaining, interval)):
                if self._bell.answer():
                    return ()
                if interval < remaining:
                    # Nothing for a long time: is anybody there?
                    reply_by = time.monotonic() + self._address.socket_timeout
                    self._connection.call(("PING",), reply_by)

    def _heard(self) -> Iterator[ResultRecord]:
        pushes = self._connection.pushes
        while pushes:
            push = pushes.popleft()
            if push[0] == b"message":
                task_id = self._keys.task_id(push[1])
                if task_id in self._watched:
                    yield record_of(task_id, push[2])

    def _deadline(self) -> float:
        return time.monotonic() + self._address.connect_timeout + self._address.socket_timeout

    def _session(self, deadline: float) -> None:
        """Have a connection that is subscribed to everything watched. Raises BackendUnavailable."""
        connection = self._connection
        if connection.connected and connection.generation == self._generation:
            return
        connection.ensure(deadline)
        # Whatever was stored meanwhile was told to nobody: read all of it.
        self._found.update(self._listen(list(self._watched), deadline))
        self._generation = connection.generation

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._connection.close()
        self._bell.close()
