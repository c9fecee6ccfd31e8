"""What becomes of tasks, told as events: the supervisor's side of monitoring.

The supervisor calls this at the few moments of a task's life; without a monitor each call is one
look at a flag. What is told is kept in the emitter; ``worker.remote`` sends it. Only ``refused``
is called by the intake thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from umbel.errors import TaskRevokedError
from umbel.model.assignment import Account, Report
from umbel.model.delivery import Requeue, Settlement
from umbel.model.lifecycle import Step
from umbel.monitoring.emitter import Emitter
from umbel.wire.envelope import Peek
from umbel.wire.reprs import safe_repr
from umbel.worker.admission import Drop, SetAside
from umbel.worker.ledger import Entry

_NO_ACCOUNT = Account()

Ending: TypeAlias = Report | BaseException | str | None
"""How a run ended: as an executor reports; by its executor's death or a hard limit; why it was
revoked; or, None, with the worker."""


class Observer:
    """Makes task events while ``watching``. The supervisor's main thread, except ``refused``."""

    def __init__(
        self,
        emitter: Emitter,
        now: Callable[[], float],
        *,
        watching: bool,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        """``now``: Unix time. ``notify``: called when events are kept that nobody was told of."""
        self._emitter = emitter
        self._now = now
        self._notify = notify
        self.watching = watching
        """Whether task events are wanted; any thread may change it."""

    def flush(self) -> None:
        """See that what was told is sent."""
        if len(self._emitter):
            self._notify()

    def received(self, entry: Entry) -> None:
        """It was claimed, and may run."""
        if self.watching and entry.run.traits.send_events:
            self._emitter.add("task-received", _described(entry.peek))

    def began(self, entry: Entry) -> None:
        """An executor is inside it."""
        if self.watching and entry.run.traits.send_events:
            self._emitter.add("task-started", {"uuid": entry.peek.id})

    def ended(self, entry: Entry, settlement: Settlement, told: Ending) -> None:
        """It ended, as ``told`` says."""
        if not self.watching or not entry.run.traits.send_events:
            return
        if isinstance(told, Report):
            self._reported(entry, told)
        elif isinstance(told, str):
            terminated = told == "terminated"
            signum = entry.signum if terminated else None
            self._emitter.add("task-revoked", _revoked(entry.peek, terminated, signum, False))
        elif told is None:
            self._emitter.add("task-cancelled", {"uuid": entry.peek.id})
        else:
            self._lost(entry.peek.id, settlement, told)

    def _reported(self, entry: Entry, report: Report) -> None:
        task_id, account = entry.peek.id, report.account or _NO_ACCOUNT
        if entry.step is Step.ASSIGNED:
            # Its beginning was not told: it was over before anybody could.
            self._emitter.add("task-started", {"uuid": task_id}, self._now() - report.seconds)
        match report.state:
            case "SUCCESS":
                told = {"uuid": task_id, "result": account.result, "runtime": report.seconds}
                self._emitter.add("task-succeeded", told)
            case "FAILURE":
                self._emitter.add("task-failed", _failure(task_id, account))
            case "RETRY":
                self._emitter.add("task-retried", _failure(task_id, account))
            case "REJECTED":
                requeue = isinstance(report.verdict, Requeue)
                self._emitter.add("task-rejected", {"uuid": task_id, "requeue": requeue})

    def _lost(self, task_id: str, settlement: Settlement, error: BaseException) -> None:
        failure = {"uuid": task_id, "exception": safe_repr(error), "traceback": str(error)}
        self._emitter.add("task-failed", failure)
        if isinstance(settlement.verdict, Requeue):
            self._emitter.add("task-rejected", {"uuid": task_id, "requeue": True})

    def refused(self, peek: Peek, decision: Drop | SetAside) -> None:
        """It was claimed and will not run. Called by the intake thread."""
        if not self.watching:
            return
        if isinstance(decision.error, TaskRevokedError):
            expired = decision.error.args[:1] == ("expired",)
            self._emitter.add("task-revoked", _revoked(peek, False, None, expired))
            return
        told = {"uuid": peek.id, "exception": safe_repr(decision.error), "traceback": None}
        self._emitter.add("task-failed", told)


def _described(peek: Peek) -> Mapping[str, Any]:
    return {
        "uuid": peek.id,
        "name": peek.shadow or peek.task,
        "args": peek.argsrepr,
        "kwargs": peek.kwargsrepr,
        "root_id": peek.root_id,
        "parent_id": peek.parent_id,
        "retries": peek.retries,
        "eta": None if peek.eta is None else peek.eta.isoformat(),
        "expires": None if peek.expires is None else peek.expires.isoformat(),
    }


def _failure(task_id: str, account: Account) -> Mapping[str, Any]:
    return {"uuid": task_id, "exception": account.exception, "traceback": account.traceback}


def _revoked(peek: Peek, terminated: bool, signum: int | None, expired: bool) -> Mapping[str, Any]:
    return {"uuid": peek.id, "terminated": terminated, "signum": signum, "expired": expired}
