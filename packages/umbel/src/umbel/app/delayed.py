"""``app.delayed``: tasks that rest in the broker until their time, to be looked at and changed.

They wait for their ``eta`` or ``countdown``, for a retry, or, parked by a worker that does not know
them, for one that does. The commands ``umbel delayed …`` are this and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from umbel.app.shelf_entries import (
    Names,
    ShelvedTask,
    TaskShelf,
    Wanted,
    described,
    names,
    runs_after,
)
from umbel.app.storing import make_record
from umbel.errors import TaskRevokedError, UnsupportedProtocol, UsageError
from umbel.model.outcome import ResultRecord
from umbel.model.shelves import Shelf, Shelved, Withdrawal
from umbel.wire import envelope
from umbel.wire.rewriting import with_headers, withdrawn
from umbel.workflows.advancing import NeverBegun


class DelayedTask(ShelvedTask, frozen=True, kw_only=True):
    """A task that begins not before ``due`` (aware). ``reason`` says why a parked one waits."""

    due: datetime
    kind: Literal["delayed", "retry", "parked"]


class Delayed(TaskShelf[DelayedTask]):
    """The tasks that rest in an app's queues. Thread-safe.

    Where ``queues`` is not given, those that the app knows and those that living workers consume.
    ``task`` is a name or shell pattern, one or several; ``ids`` are ids of tasks or keys;
    ``due_after`` (or at) and ``due_before`` are aware datetimes. The broker keeps no index of ids:
    to find one it reads what rests in the queue, bit by bit.
    """

    shelf = Shelf.DELAYED
    what = "resting"

    def list(
        self,
        *,
        ids: Names = None,
        queues: Names = None,
        task: Names = None,
        due_after: datetime | None = None,
        due_before: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[DelayedTask]:
        """Yield the tasks, the earliest of each queue first. Reads page by page as consumed."""
        return self.walk(queues, _wanted(ids, task, due_after, due_before), limit)

    def get(self, task_id: str, *, queues: Names = None) -> DelayedTask:
        """Return one task by its id or key. Raises NotResting."""
        return self.one(task_id, queues)

    def count(
        self,
        *,
        queues: Names = None,
        task: Names = None,
        due_after: datetime | None = None,
        due_before: datetime | None = None,
    ) -> int:
        """Return how many there are; without filters the broker knows without looking at them."""
        wanted = _wanted(None, task, due_after, due_before)
        if wanted == Wanted():
            self.shelves()
            stats = self._app.broker.stats(names(queues) or self.queues())
            return sum(one.delayed or 0 for one in stats)
        return sum(len(found) for _, found in self.pages(queues, wanted))

    def cancel(
        self,
        ids: Names = None,
        *,
        queues: Names = None,
        task: Names = None,
        due_after: datetime | None = None,
        due_before: datetime | None = None,
        everything: bool = False,
    ) -> int:
        """Take tasks out of their queues, at once; return how many were still resting.

        Their results become REVOKED, and those of the steps of a chain behind them, so that nobody
        waits for ever. A member of a chord goes to its queue once more: there a worker, which does
        not run it, has the chord fail. What has left for a worker is not touched: ``revoke`` ends
        that. Raises UsageError where nothing is named.
        """
        wanted = _wanted(ids, task, due_after, due_before)
        self.must_be_meant("cancel", wanted, everything=everything)
        return self.move(queues, wanted, self._gone)

    def reschedule(
        self,
        ids: Names = None,
        *,
        eta: datetime | None = None,
        countdown: float | None = None,
        queues: Names = None,
        task: Names = None,
        due_after: datetime | None = None,
        due_before: datetime | None = None,
        everything: bool = False,
    ) -> int:
        """Give tasks another time, ``eta`` (aware) or ``countdown`` seconds from now; how many.

        Each is one atomic step; 0 seconds lets a task begin now. What is due at that very moment
        already, and what has left for a worker, is not touched. Raises UsageError where nothing is
        named, and UnsupportedProtocol for a message of protocol 1.
        """
        due = _moment(eta, countdown)
        wanted = _wanted(ids, task, due_after, due_before)
        self.must_be_meant("reschedule", wanted, everything=everything)
        return self.move(queues, wanted, lambda one: _at(one, due))

    def _gone(self, one: DelayedTask) -> Withdrawal:
        message = self.opened(one)
        after = runs_after(message)
        counted = message is not None and bool(message.chord)
        raw = None
        if counted or any(each.slot is not None for each in after):
            raw = _never_to_run(one)
        return Withdrawal(id=one.key, raw=raw, records=tuple(self._records(one, after)))

    def _records(self, one: DelayedTask, after: Sequence[NeverBegun]) -> Iterator[ResultRecord]:
        app = self._app
        if one.task_id is None or not app.has_result_backend:
            return
        ids = [each.task_id for each in after]
        if not self._ignored(one):
            ids.insert(0, one.task_id)
        for task_id in ids:
            error = TaskRevokedError("cancelled")
            yield make_record(app, task_id=task_id, state="REVOKED", result=error)

    def _ignored(self, one: DelayedTask) -> bool:
        said = envelope.peek(one.raw).ignore_result
        if said is not None:
            return said
        known = dict.get(self._app.tasks, one.task or "")
        return bool(known is not None and known.ignore_result)

    def read(self, entry: Shelved) -> DelayedTask:
        fields: dict[str, Any] = described(entry)
        kind: Literal["delayed", "retry", "parked"] = "delayed"
        if entry.reason:
            kind = "parked"
        elif fields["retries"]:
            kind = "retry"
        return DelayedTask(**fields, due=entry.at, kind=kind)


def _never_to_run(one: DelayedTask) -> bytes | None:
    """Return the message as workers end it, who can count for its chord and call what follows."""
    try:
        return withdrawn(one.raw)
    except UnsupportedProtocol:
        return None  # protocol 1: the body, where its fields are, stays as its sender wrote it


def _at(one: DelayedTask, due: datetime) -> Withdrawal | None:
    if one.due == due:
        return None  # so that a walk that meets what it has just moved leaves it alone
    raw = with_headers(one.raw, {"eta": due.isoformat()})
    return Withdrawal(id=one.key, raw=raw, due_at=due)


def _moment(eta: datetime | None, countdown: float | None) -> datetime:
    if (eta is None) == (countdown is None):
        raise UsageError("reschedule() takes eta= or countdown=, one of them.")
    if eta is None:
        assert countdown is not None
        eta = datetime.now(UTC) + timedelta(seconds=countdown)
    if eta.tzinfo is None:
        raise UsageError(f"eta is {eta.isoformat()}, without a zone; give an aware datetime.")
    # Stores keep milliseconds: in whole ones, a task is seen to be due when it was said to be.
    return eta.astimezone(UTC).replace(microsecond=eta.microsecond // 1000 * 1000)


def _wanted(
    ids: Names, task: Names, due_after: datetime | None, due_before: datetime | None
) -> Wanted:
    for name, moment in (("due_after", due_after), ("due_before", due_before)):
        if moment is not None and moment.tzinfo is None:
            raise UsageError(
                f"{name} is {moment.isoformat()}, without a zone; give an aware datetime."
            )
    return Wanted(ids=frozenset(names(ids)), tasks=names(task), since=due_after, until=due_before)
