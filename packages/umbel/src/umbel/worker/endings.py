"""Ends that no executor can report: dropped, set aside, timed out, lost, refused for its shape.

Pure: the plan and a moment in, records and settlements out. Called by ``intake`` and
``supervisor``; nothing is sent or stored here.
"""

from __future__ import annotations

import signal
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from umbel.errors import TaskRevokedError, TimeLimitExceeded, WorkerLostError
from umbel.model.delivery import (
    Ack,
    Delivery,
    Effects,
    Quarantine,
    Requeue,
    Settlement,
)
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.wire import result_meta
from umbel.wire.envelope import Peek
from umbel.wire.serializers import SERIALIZERS
from umbel.worker.admission import Drop, Rest, SetAside
from umbel.worker.ledger import Entry
from umbel.worker.plan import TaskTraits, WorkerPlan

LOST_DELAYS = (0.0, 1.0, 5.0, 15.0, 30.0)
"""Seconds a task rests after its executor died, delivery by delivery, so that a message which
kills every executor it meets does not take the worker with it at full speed."""


class Endings:
    """Makes the ends of one worker's plan. Immutable; any thread may use it."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._serializer = SERIALIZERS.get(plan.result_serializer)
        self._timezone = ZoneInfo(plan.timezone)

    def decided(
        self,
        delivery: Delivery,
        peek: Peek,
        decision: Rest | Drop | SetAside,
        now: datetime,
    ) -> Settlement:
        """The settlement of a delivery that is not run now."""
        match decision:
            case Rest(until=until, counted=counted):
                return Settlement(
                    delivery.receipt, Requeue(due_at=until, front=True, counted=counted)
                )
            case Drop(state=state, error=error):
                records = self._records(peek, state, error, now)
                return Settlement(delivery.receipt, Ack(), Effects(records))
            case SetAside(error=error, why=why):
                records = self._records(peek, "FAILURE", error, now)
                return Settlement(delivery.receipt, Quarantine(why), Effects(records))

    def undecodable(self, delivery: Delivery, error: Exception) -> Settlement:
        """The settlement of a message whose envelope cannot be read."""
        return Settlement(delivery.receipt, Quarantine("undecodable", str(error)))

    def handed_back(self, entry: Entry) -> Settlement:
        """Never begun: to the front of its queue, as if never claimed."""
        return Settlement(entry.delivery.receipt, Requeue(front=True, counted=False))

    def interrupted(self, entry: Entry) -> Settlement:
        """Begun, then ended by a cold shutdown: again soon, and a deploy burns no attempt."""
        return Settlement(entry.delivery.receipt, Requeue(front=True, counted=False))

    def timed_out(self, entry: Entry, now: datetime) -> tuple[Settlement, TimeLimitExceeded]:
        """The hard limit passed and the executor was killed."""
        limit = entry.run.hard_limit
        # What the caller wrote: 30 and not 30.0.
        error = TimeLimitExceeded(int(limit) if limit is not None and limit % 1 == 0 else limit)
        records = self._records(entry.peek, "FAILURE", error, now, entry.run.traits)
        if entry.run.traits.ack_timeout:
            return Settlement(entry.delivery.receipt, Ack(), Effects(records)), error
        back = Requeue(front=False, counted=True)
        return Settlement(entry.delivery.receipt, back, Effects(records)), error

    def terminated(self, entry: Entry, now: datetime) -> Settlement:
        """Revoked while it ran, with ``terminate``."""
        error = TaskRevokedError("terminated")
        records = self._records(entry.peek, "REVOKED", error, now)
        return Settlement(entry.delivery.receipt, Ack(), Effects(records))

    def lost(
        self, entry: Entry, status: int | None, now: datetime
    ) -> tuple[Settlement, WorkerLostError]:
        """The executor died under the task."""
        error = WorkerLostError(f"{_death(status)} while it ran this task")
        receipt, count = entry.delivery.receipt, entry.delivery.count
        most = self._plan.max_deliveries
        if entry.run.traits.requeue_lost and not entry.acked:
            if most is None or count < most:
                delay = LOST_DELAYS[min(count, len(LOST_DELAYS)) - 1]
                due = now + timedelta(seconds=delay) if delay else None
                return Settlement(receipt, Requeue(due_at=due, front=False, counted=True)), error
            why = f"its executor died at each of {count} deliveries ({error})"
            records = self._records(entry.peek, "FAILURE", WorkerLostError(why), now)
            return Settlement(receipt, Quarantine("worker lost", why), Effects(records)), error
        records = self._records(entry.peek, "FAILURE", error, now, entry.run.traits)
        return Settlement(receipt, Ack(), Effects(records)), error

    def _records(
        self,
        peek: Peek,
        state: str,
        error: BaseException,
        now: datetime,
        traits: TaskTraits | None = None,
    ) -> tuple[ResultRecord, ...]:
        plan = self._plan
        if plan.backend_url is None or self._ignored(peek, traits):
            return ()
        expires = plan.result_expires
        if state == "FAILURE" and plan.failure_expires is not None:
            expires = plan.failure_expires
        final = state in READY_STATES
        document = result_meta.encode(
            task_id=peek.id,
            status=state,
            result=error,
            children=None,
            date_done=now if final else None,
            parent_id=peek.parent_id,
            serializer=self._serializer,
            timezone=self._timezone,
        )
        record = ResultRecord(
            task_id=peek.id, state=state, document=document, final=final, expires=expires
        )
        return (record,)

    def _ignored(self, peek: Peek, traits: TaskTraits | None) -> bool:
        traits = traits or self._plan.tasks.get(peek.task)
        if traits is not None and traits.store_errors:
            return False
        if peek.ignore_result is not None:
            return peek.ignore_result
        return traits is not None and traits.ignore_result


def _death(status: int | None) -> str:
    if status is None:
        return "the executor died"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "unknown"
        return f"the executor was killed by signal {-status} ({name})"
    return f"the executor exited with code {status}"
