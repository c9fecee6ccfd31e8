"""Hearing of results in tables: looking, for they tell nobody.

``result_backend`` opens watchers, and says so when this process itself stores a result. Looks are
close together at first and rarer the longer nothing comes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from umbel.model.outcome import ResultRecord
from umbel.ports import Watcher

SHORTEST_PAUSE = 0.02
"""Seconds between the first looks."""
_SLOWER = 1.5

Fetch = Callable[[Sequence[str]], Mapping[str, ResultRecord]]


class TableWatcher(Watcher):
    """One thread at a time, except ``wake`` and ``look``."""

    def __init__(self, fetch: Fetch, longest_pause: float) -> None:
        self._fetch = fetch
        self._longest = longest_pause
        self._pause = SHORTEST_PAUSE
        self._told: dict[str, bytes] = {}
        """Watched id -> the last document told of it."""
        self._final: set[str] = set()
        self._bell = threading.Event()
        self._woken = False

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        found = self._fetch(task_ids)
        for task_id in task_ids:
            self._told.setdefault(task_id, b"")
        self._note(found.values())
        self._pause = SHORTEST_PAUSE
        return found

    def unwatch(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._told.pop(task_id, None)
            self._final.discard(task_id)

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        deadline = time.monotonic() + timeout
        while True:
            # Race: somebody rings after this. The bell then ends the wait below at once.
            self._bell.clear()
            woken, self._woken = self._woken, False
            news = self._news()
            remaining = deadline - time.monotonic()
            if news or woken or remaining <= 0:
                self._pause = SHORTEST_PAUSE if news else self._pause
                return news
            if self._bell.wait(min(remaining, self._pause)):
                continue
            self._pause = min(self._longest, self._pause * _SLOWER)

    def _news(self) -> list[ResultRecord]:
        # What is final stays as it is.
        waited_for = [task_id for task_id in self._told if task_id not in self._final]
        found = self._fetch(waited_for).values()
        news = [each for each in found if each.document != self._told[each.task_id]]
        self._note(news)
        return news

    def _note(self, records: Iterable[ResultRecord]) -> None:
        for record in records:
            self._told[record.task_id] = record.document
            if record.final:
                self._final.add(record.task_id)

    def look(self) -> None:
        """Look now: this process has stored something. Any thread may call it."""
        self._bell.set()

    def wake(self) -> None:
        self._woken = True
        self._bell.set()

    def close(self) -> None:
        self._told.clear()
