"""Ends that no executor can report: dropped, set aside, timed out, lost, refused for its shape.

Pure: the plan and a moment in, records and settlements out. Called by ``intake`` and
``supervisor``; nothing is sent or stored here.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from umbel.errors import (
    ImproperlyConfigured,
    TaskRevokedError,
    TimeLimitExceeded,
    WireError,
    WorkerLostError,
)
from umbel.model.delivery import (
    Ack,
    Delivery,
    Effects,
    Quarantine,
    Requeue,
    Settlement,
)
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.model.queues import Outgoing, Queue
from umbel.wire import envelope, result_meta
from umbel.wire.envelope import Peek
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_message import decode
from umbel.worker.admission import Drop, Rest, SetAside
from umbel.worker.ledger import Entry
from umbel.worker.plan import TaskTraits, WorkerPlan

_HARMLESS = SERIALIZERS.content_types(["json", "yaml", "msgpack"])

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
                records = self._records(delivery.raw, peek, state, error, now)
                return Settlement(delivery.receipt, Ack(), Effects(records))
            case SetAside(error=error, why=why):
                records = self._records(delivery.raw, peek, "FAILURE", error, now)
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

    def sent_again(self, delivery: Delivery) -> Effects:
        """Acknowledged early and never begun, but the worker ends: publish it as it was."""
        message = envelope.load(delivery.raw)
        return Effects((), (Outgoing(message=message, queue=Queue(delivery.queue)),))

    def timed_out(self, entry: Entry, now: datetime) -> tuple[Settlement, TimeLimitExceeded]:
        """The hard limit passed and the executor was killed."""
        limit = entry.run.hard_limit
        # What the caller wrote: 30 and not 30.0.
        error = TimeLimitExceeded(int(limit) if limit is not None and limit % 1 == 0 else limit)
        raw = entry.delivery.raw
        if entry.run.traits.ack_timeout:
            records = self._records(raw, entry.peek, "FAILURE", error, now, entry.run.traits)
            return Settlement(entry.delivery.receipt, Ack(), Effects(records)), error
        # It runs again, and so may what follows it.
        back = Requeue(front=False, counted=True)
        records = self._own(entry.peek, "FAILURE", error, now, entry.run.traits)
        return Settlement(entry.delivery.receipt, back, Effects(records)), error

    def terminated(self, entry: Entry, now: datetime, why: str = "terminated") -> Settlement:
        """Revoked while it ran, with ``terminate``, or here before it began (``revoked``)."""
        error = TaskRevokedError(why)
        records = self._records(entry.delivery.raw, entry.peek, "REVOKED", error, now)
        return Settlement(entry.delivery.receipt, Ack(), Effects(records))

    def lost(
        self, entry: Entry, status: int | None, now: datetime
    ) -> tuple[Settlement, WorkerLostError]:
        """The executor died under the task."""
        error = WorkerLostError(f"{_death(status)} while it ran this task")
        receipt, count = entry.delivery.receipt, entry.delivery.count
        raw, peek = entry.delivery.raw, entry.peek
        most = self._plan.max_deliveries
        if entry.run.traits.requeue_lost and not entry.acked:
            if most is None or count < most:
                delay = LOST_DELAYS[min(count, len(LOST_DELAYS)) - 1]
                due = now + timedelta(seconds=delay) if delay else None
                return Settlement(receipt, Requeue(due_at=due, front=False, counted=True)), error
            why = f"its executor died at each of {count} deliveries ({error})"
            records = self._records(raw, peek, "FAILURE", WorkerLostError(why), now)
            return Settlement(receipt, Quarantine("worker lost", why), Effects(records)), error
        records = self._records(raw, peek, "FAILURE", error, now, entry.run.traits)
        return Settlement(receipt, Ack(), Effects(records)), error

    def _records(
        self,
        raw: bytes,
        peek: Peek,
        state: str,
        error: BaseException,
        now: datetime,
        traits: TaskTraits | None = None,
    ) -> tuple[ResultRecord, ...]:
        """The record of this end, and one for each step of a chain that will never run now."""
        if self._plan.backend_url is None:
            return ()
        rest = (self._record(one, state, error, now) for one in _steps_after(raw))
        return (*self._own(peek, state, error, now, traits), *rest)

    def _own(
        self,
        peek: Peek,
        state: str,
        error: BaseException,
        now: datetime,
        traits: TaskTraits | None = None,
    ) -> tuple[ResultRecord, ...]:
        if self._plan.backend_url is None or self._ignored(peek, traits):
            return ()
        return (self._record(peek.id, state, error, now, peek.parent_id),)

    def _record(
        self,
        task_id: str,
        state: str,
        error: BaseException,
        now: datetime,
        parent_id: str | None = None,
    ) -> ResultRecord:
        plan = self._plan
        expires = plan.result_expires
        if state == "FAILURE" and plan.failure_expires is not None:
            expires = plan.failure_expires
        final = state in READY_STATES
        document = result_meta.encode(
            task_id=task_id,
            status=state,
            result=error,
            children=None,
            date_done=now if final else None,
            parent_id=parent_id,
            serializer=self._serializer,
            timezone=self._timezone,
        )
        return ResultRecord(
            task_id=task_id, state=state, document=document, final=final, expires=expires
        )

    def _ignored(self, peek: Peek, traits: TaskTraits | None) -> bool:
        traits = traits or self._plan.tasks.get(peek.task)
        if traits is not None and traits.store_errors:
            return False
        if peek.ignore_result is not None:
            return peek.ignore_result
        return traits is not None and traits.ignore_result


def _steps_after(raw: bytes) -> Iterator[str]:
    """Yield the ids of the chain steps that were to follow this message.

    Only here does a supervisor open a body, for ends that are rare. A pickled one it leaves alone,
    since that may run anything: who waits for the end of such a chain waits in vain.
    """
    try:
        message = decode(envelope.load(raw), accept=_HARMLESS, serializers=SERIALIZERS)
    except (WireError, ImproperlyConfigured):
        return  # not ours to explain; ImproperlyConfigured: its serializer is not installed
    steps: Iterable[Any] = message.chain or ()  # of whatever shape somebody sent
    for step in steps:
        options = step.get("options") if isinstance(step, Mapping) else None
        if isinstance(options, Mapping) and options.get("task_id"):
            yield str(options["task_id"])


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
