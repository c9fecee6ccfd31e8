"""Reads the outcomes of tasks, as a client would, but in thousands.

Umbel's through its own result port (they must be readable with it), Celery's straight from Redis.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis

from torture.stores import RESULT_PREFIX, Store
from umbel.drivers.opening import open_backend
from umbel.model.outcome import READY_STATES

CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A final outcome."""

    state: str
    value: Any
    """The result, or the error's type and message."""


class Results(ABC):
    """One thread at a time."""

    def final(self, ids: Iterable[str]) -> dict[str, Found]:
        """Return the outcomes of those that have one."""
        found: dict[str, Found] = {}
        left = iter(ids)
        while chunk := list(islice(left, CHUNK)):
            for task_id, document in self._documents(chunk).items():
                meta = json.loads(document)
                if meta["status"] in READY_STATES:
                    found[task_id] = Found(meta["status"], meta["result"])
        return found

    @abstractmethod
    def _documents(self, ids: list[str]) -> dict[str, bytes]: ...

    @abstractmethod
    def close(self) -> None: ...


class UmbelResults(Results):
    def __init__(self, url: str) -> None:
        self._backend = open_backend(url, {})

    def _documents(self, ids: list[str]) -> dict[str, bytes]:
        return {task_id: each.document for task_id, each in self._backend.fetch(ids).items()}

    def close(self) -> None:
        self._backend.close()


class CeleryResults(Results):
    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(url)  # its types allow for texts, too

    def _documents(self, ids: list[str]) -> dict[str, bytes]:
        values = self._client.mget([RESULT_PREFIX + each.encode() for each in ids])
        return {each: value for each, value in zip(ids, values, strict=True) if value is not None}

    def close(self) -> None:
        self._client.close()


def open_results(peer: str, store: Store) -> Results:
    """Return the reader for what this peer keeps in the store."""
    return UmbelResults(store.url()) if peer == "umbel" else CeleryResults(store.url())
