"""Which members of a set of results are over: pure bookkeeping between records and members.

Used by ``result_sets``, for waiting threads and coroutines alike. It waits for nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from umbel.app.handles import AsyncResult
from umbel.app.listening import ResultListener
from umbel.app.result_trees import ResultBase, leaves_of
from umbel.errors import UsageError
from umbel.model.outcome import ResultRecord

OnMessage = Callable[[Mapping[str, Any]], object]


class Gathering:
    """Members that may be single runs or sets of them, and what each still lacks."""

    def __init__(self, members: Sequence[ResultBase], on_message: OnMessage | None = None) -> None:
        self._on_message = on_message
        self._lacking: dict[int, int] = {}
        """Position of a member -> how many of its runs are not over."""
        self._waiting: dict[str, list[tuple[AsyncResult[Any], int]]] = {}
        self.settled: list[int] = []
        """Positions of members that were over before any record came."""
        for position, member in enumerate(members):
            open_runs = [one for one in leaves_of(member) if one._cache is None and not one.ignored]
            for run in open_runs:
                self._waiting.setdefault(run.id, []).append((run, position))
            if open_runs:
                self._lacking[position] = len(open_runs)
            else:
                self.settled.append(position)

    @property
    def missing(self) -> Iterable[str]:
        """Ids of the runs that are not over."""
        return self._waiting.keys()

    @property
    def open_members(self) -> int:
        """How many members are not over."""
        return len(self._lacking)

    def absorb(self, records: Iterable[ResultRecord]) -> list[int]:
        """Give the records to the handles; return positions of members that are over by that."""
        settled: list[int] = []
        for record in records:
            waiting = self._waiting.get(record.task_id)
            if waiting is None:
                continue
            for run, _ in waiting:
                run._hear(record, {}, self._on_message if run is waiting[0][0] else None)
            if waiting[0][0]._cache is None:
                continue
            for _, position in self._waiting.pop(record.task_id):
                self._lacking[position] -= 1
                if not self._lacking[position]:
                    del self._lacking[position]
                    settled.append(position)
        return settled

    def listener(self) -> ResultListener:
        """Return the listener that hears of all of them. Raises UsageError where there is none."""
        listeners = {id(one): one for runs in self._waiting.values() for one, _ in runs}
        found = {id(heard): heard for heard in (run._listener() for run in listeners.values())}
        if len(found) != 1:
            raise UsageError(
                "the results of this set rest in different result backends, and cannot be waited "
                "for together: make one set for each backend"
            )
        return next(iter(found.values()))
