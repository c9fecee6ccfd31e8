"""What becomes of tasks, told as events: the supervisor's side of monitoring.

The supervisor calls this at the few moments of a task's life; where nobody listens each call is one
look at a flag. What is told is kept in the emitter; ``worker.remote`` sends it, and says whether
somebody heard. Only ``refused`` is called by the intake thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from umbel.errors import TaskRevokedError
from umbel.model.assignment import Account, Report
from umbel.model.delivery import Requeue, Settlement
from umbel.model.lifecycle import Step
from umbel.monitoring.emitter import Emitter
from umbel.monitoring.task_events import (
    Cancelled,
    Failed,
    Received,
    Rejected,
    Retried,
    Revoked,
    Started,
    Succeeded,
)
from umbel.wire.envelope import Peek
from umbel.wire.reprs import safe_repr
from umbel.worker.admission import Drop, SetAside
from umbel.worker.ledger import Entry

_NO_ACCOUNT = Account()

Ending: TypeAlias = Report | BaseException | str | None
"""How a run ended: as an executor reports; by its executor's death or a hard limit; why it was
revoked; or, None, with the worker."""


class Observer:
    """Makes task events while ``watching``. The supervisor's main thread, except where said."""

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
        self._who = emitter.hostname, emitter.pid, 0
        self.wanted = watching
        """Whether task events are asked for."""
        self.heard = True
        """Whether somebody listens, as far as is known."""
        self.watching = watching
        """Both of these. Any thread may change them, by ``want`` and ``hear``."""

    def want(self, wanted: bool) -> None:
        """Have task events told, or told no more. The bus's thread."""
        self.wanted = wanted
        self.watching = wanted and self.heard

    def hear(self, heard: bool) -> None:
        """Note whether somebody listened to the last event. The bus's thread."""
        self.heard = heard
        self.watching = self.wanted and heard

    def flush(self) -> None:
        """See that what was told is sent."""
        if len(self._emitter):
            self._notify()

    def received(self, entry: Entry) -> None:
        """It was claimed, and may run."""
        if not self.watching or not entry.run.traits.send_events:
            return
        peek = entry.peek
        self._emitter.keep(
            Received(
                *self._who,
                self._now(),
                peek.id,
                peek.shadow or peek.task,
                peek.argsrepr,
                peek.kwargsrepr,
                peek.root_id,
                peek.parent_id,
                peek.retries,
                None if peek.eta is None else peek.eta.isoformat(),
                None if peek.expires is None else peek.expires.isoformat(),
            )
        )

    def began(self, entry: Entry) -> None:
        """An executor is inside it."""
        if self.watching and entry.run.traits.send_events:
            self._emitter.keep(Started(*self._who, self._now(), entry.peek.id))

    def ended(self, entry: Entry, settlement: Settlement, told: Ending) -> None:
        """It ended, as ``told`` says."""
        if not self.watching or not entry.run.traits.send_events:
            return
        peek, now = entry.peek, self._now()
        if isinstance(told, Report):
            self._reported(entry, told, now)
        elif isinstance(told, str):
            signum = entry.signum if told == "terminated" else None
            event = Revoked(*self._who, now, peek.id, told == "terminated", signum, False)
            self._emitter.keep(event)
        elif told is None:
            self._emitter.keep(Cancelled(*self._who, now, peek.id))
        else:
            event_of_loss = Failed(*self._who, now, peek.id, safe_repr(told), str(told))
            self._emitter.keep(event_of_loss)
            if isinstance(settlement.verdict, Requeue):
                self._emitter.keep(Rejected(*self._who, now, peek.id, True))

    def _reported(self, entry: Entry, report: Report, now: float) -> None:
        keep, who, task_id = self._emitter.keep, self._who, entry.peek.id
        account = report.account or _NO_ACCOUNT
        if entry.step is Step.ASSIGNED:
            # Its beginning was not told: it was over before anybody could.
            keep(Started(*who, now - report.seconds, task_id))
        match report.state:
            case "SUCCESS":
                keep(Succeeded(*who, now, task_id, account.result, report.seconds))
            case "FAILURE":
                keep(Failed(*who, now, task_id, account.exception, account.traceback))
            case "RETRY":
                keep(Retried(*who, now, task_id, account.exception, account.traceback))
            case "REJECTED":
                keep(Rejected(*who, now, task_id, isinstance(report.verdict, Requeue)))

    def refused(self, peek: Peek, decision: Drop | SetAside) -> None:
        """It was claimed and will not run. Called by the intake thread."""
        if not self.watching:
            return
        now = self._now()
        if isinstance(decision.error, TaskRevokedError):
            expired = decision.error.args[:1] == ("expired",)
            self._emitter.keep(Revoked(*self._who, now, peek.id, False, None, expired))
        else:
            self._emitter.keep(Failed(*self._who, now, peek.id, safe_repr(decision.error), None))
