"""The members of a set of results, and how they stand together.

``ResultMembers`` is the part of ``ResultSet`` that never waits: membership and aggregate states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from umbel.app.handles import AsyncResult
from umbel.app.result_reading import read_record
from umbel.app.result_trees import ResultBase, leaves_of
from umbel.model.outcome import PROPAGATE_STATES, READY_STATES
from umbel.ports import ResultBackend


class ResultMembers(ResultBase):
    """Several results in order. One thread at a time may change the membership."""

    results: list[Any]

    # --- membership -------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Append a member unless it is one."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Take out a member, given itself or its id. Raises KeyError when it is none."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Take out a member if it is one."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Append those that are not members yet."""
        known = set(self.results)
        for one in results:
            if one not in known:
                known.add(one)
                self.results.append(one)

    def clear(self) -> None:
        """Take out every member."""
        self.results.clear()

    @property
    def children(self) -> list[Any]:
        """The members."""
        return self.results

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    # --- how they stand ---------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read every member that is not known to be over, in one round trip for each backend."""
        by_backend: dict[int, tuple[ResultBackend, dict[str, list[AsyncResult[Any]]]]] = {}
        for run in leaves_of(self):
            if run._cache is None:
                backend = run.backend
                ids = by_backend.setdefault(id(backend), (backend, {}))[1]
                ids.setdefault(run.id, []).append(run)
        for backend, runs in by_backend.values():
            for task_id, record in backend.fetch(list(runs)).items():
                if record.state in READY_STATES:
                    for run in runs[task_id]:
                        run._cache = read_record(run.app, record)

    def _states(self) -> list[str]:
        self._refresh()
        return [_state(member) for member in self.results]

    def ready(self) -> bool:
        """Tell whether every member is over."""
        return all(state in READY_STATES for state in self._states())

    def successful(self) -> bool:
        """Tell whether every member returned."""
        return all(state == "SUCCESS" for state in self._states())

    def failed(self) -> bool:
        """Tell whether any member raised."""
        return any(state == "FAILURE" for state in self._states())

    def waiting(self) -> bool:
        """Tell whether any member is not over."""
        return not self.ready()

    def completed_count(self) -> int:
        """Return how many members returned (Celery's name; failed ones are not counted)."""
        return sum(state == "SUCCESS" for state in self._states())

    def maybe_throw(
        self, callback: Callable[[str, Any], object] | None = None, propagate: bool = True
    ) -> None:
        """Raise what the first failed member raised."""
        self._refresh()
        for member in self.results:
            member.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw


def _state(member: Any) -> str:
    """Return how a member stands by what has been read; a set is as far as its last member."""
    if isinstance(member, ResultMembers):
        states = [_state(one) for one in member.results]
        for state in PROPAGATE_STATES:
            if state in states and all(one in READY_STATES for one in states):
                return state
        return "SUCCESS" if all(state == "SUCCESS" for state in states) else "PENDING"
    if isinstance(member, AsyncResult):
        return "PENDING" if member._cache is None else str(member._cache["status"])
    return str(member.state)


def document_of(member: Any) -> Mapping[str, Any] | list[Any]:
    if isinstance(member, ResultMembers):
        return [document_of(one) for one in member.results]
    if isinstance(member, AsyncResult):
        return member._cache or {"status": "PENDING", "result": None}
    return {"status": member.state, "result": member.result, "traceback": member.traceback}
