"""``app.quarantine``: what workers set aside, to be looked at, sent again or dropped.

The commands ``umbel quarantine …`` are this and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from umbel.app.shelf_entries import (
    Names,
    ShelvedTask,
    TaskShelf,
    Wanted,
    described,
    names,
    runs_after,
)
from umbel.errors import UsageError, WireError
from umbel.model.shelves import Shelf, Shelved, Withdrawal
from umbel.wire.rewriting import with_headers


class QuarantinedTask(ShelvedTask, frozen=True, kw_only=True):
    """A message set aside at ``since`` (aware), by the worker of this node name.

    ``error`` is the name of the exception's class; ``detail`` its traceback, or a sentence more
    than ``reason``.
    """

    since: datetime
    error: str | None
    detail: str | None
    worker: str | None


class Quarantine(TaskShelf[QuarantinedTask]):
    """The tasks set aside in an app's queues. Thread-safe.

    Where ``queues`` is not given, those that the app knows and those that living workers consume.
    ``task`` and ``error`` are names or shell patterns, one or several; ``ids`` are ids of tasks or
    keys; ``older_than`` is in seconds. Nothing leaves the quarantine by itself.
    """

    shelf = Shelf.QUARANTINE
    what = "in quarantine"

    def list(
        self,
        *,
        ids: Names = None,
        queues: Names = None,
        task: Names = None,
        error: Names = None,
        older_than: float | None = None,
        limit: int | None = None,
    ) -> Iterator[QuarantinedTask]:
        """Yield the tasks, the oldest of each queue first. Reads page by page as it is consumed."""
        return self.walk(queues, _wanted(ids, task, error, older_than), limit)

    def get(self, task_id: str, *, queues: Names = None) -> QuarantinedTask:
        """Return one task by its id or key. Raises NotResting."""
        return self.one(task_id, queues)

    def count(
        self,
        *,
        queues: Names = None,
        task: Names = None,
        error: Names = None,
        older_than: float | None = None,
    ) -> int:
        """Return how many there are; without filters the broker knows without looking at them."""
        wanted = _wanted(None, task, error, older_than)
        if wanted == Wanted():
            self.shelves()
            stats = self._app.broker.stats(names(queues) or self.queues())
            return sum(one.quarantined for one in stats)
        return sum(len(found) for _, found in self.pages(queues, wanted))

    def retry(
        self,
        ids: Names = None,
        *,
        queues: Names = None,
        task: Names = None,
        error: Names = None,
        older_than: float | None = None,
        everything: bool = False,
    ) -> int:
        """Send tasks back to their queues; return how many.

        Each is one atomic step. Its deliveries and retries begin at zero, and the failure stored
        for it, and for the steps of a chain behind it, is forgotten: whoever asks for the result
        from now on waits for the new run. What comes back into the quarantine meanwhile is left
        there. Raises UsageError where nothing is named.
        """
        wanted = _wanted(ids, task, error, older_than)
        self.must_be_meant("retry", wanted, everything=everything)
        return self.move(queues, _so_far(wanted), self._back)

    def discard(
        self,
        ids: Names = None,
        *,
        queues: Names = None,
        task: Names = None,
        error: Names = None,
        older_than: float | None = None,
        everything: bool = False,
    ) -> int:
        """Drop tasks for good; return how many. Their stored failures stay.

        What waited for one, such as the chord that it is a member of, was told of its failure when
        it was set aside.

        Raises UsageError where nothing is named.
        """
        wanted = _wanted(ids, task, error, older_than)
        self.must_be_meant("discard", wanted, everything=everything)
        return self.move(queues, _so_far(wanted), lambda one: Withdrawal(id=one.key))

    def _back(self, one: QuarantinedTask) -> Withdrawal:
        forget: tuple[str, ...] = ()
        if one.task_id is not None and self._app.has_result_backend:
            forget = (one.task_id, *(each.task_id for each in runs_after(self.opened(one))))
        return Withdrawal(id=one.key, raw=_from_the_start(one), forget=forget)

    def read(self, entry: Shelved) -> QuarantinedTask:
        fields: dict[str, Any] = described(entry)
        return QuarantinedTask(
            **fields,
            since=entry.at,
            error=entry.error,
            detail=entry.detail,
            worker=entry.worker,
        )


def _from_the_start(one: QuarantinedTask) -> bytes:
    """Return the message with its retries to come again; as it is where it cannot be read."""
    if not one.retries:
        return one.raw
    try:
        return with_headers(one.raw, {"retries": 0})
    except WireError:
        return one.raw


def _wanted(ids: Names, task: Names, error: Names, older_than: float | None) -> Wanted:
    until = None
    if older_than is not None:
        if older_than < 0:
            raise UsageError(f"older_than is {older_than!r}; it takes seconds, 0 or more.")
        until = datetime.now(UTC) - timedelta(seconds=older_than)
    return Wanted(ids=frozenset(names(ids)), tasks=names(task), errors=names(error), until=until)


def _so_far(wanted: Wanted) -> Wanted:
    """Return what is wanted of what is there now: not what is set aside while we are at it."""
    if wanted.ids or wanted.until is not None:
        return wanted
    return Wanted(
        ids=wanted.ids,
        tasks=wanted.tasks,
        errors=wanted.errors,
        until=datetime.now(UTC) + timedelta(milliseconds=1),
    )
