"""Ends that no executor can report: dropped, set aside, timed out, lost, refused for its shape.

Pure: the plan and a moment in, records and settlements out. Called by ``intake`` and
``supervisor``; nothing is sent or stored here.
"""

from __future__ import annotations

import signal
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from umbel.errors import (
    TaskRevokedError,
    TimeLimitExceeded,
    WireError,
    WorkerLostError,
)
from umbel.model.delivery import (
    NO_EFFECTS,
    Ack,
    Delivery,
    Effects,
    Quarantine,
    Requeue,
    Settlement,
)
from umbel.model.message import TaskMessage
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.model.queues import Outgoing, Queue
from umbel.model.shelves import Aside
from umbel.wire import envelope, result_meta
from umbel.wire.envelope import Peek
from umbel.wire.serializers import SERIALIZERS
from umbel.worker.admission import Drop, Rest, SetAside
from umbel.worker.ledger import Entry
from umbel.worker.plan import TaskTraits, WorkerPlan
from umbel.worker.workflow_ends import Closed, ended, opened, untold

LOST_DELAYS = (0.0, 1.0, 5.0, 15.0, 30.0)
"""Seconds a task rests after its executor died, delivery by delivery, so that a message which
kills every executor it meets does not take the worker with it at full speed."""


class Endings:
    """Makes the ends of one worker's plan. Immutable; any thread may use it."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._serializer = SERIALIZERS.get(plan.result_serializer)
        self._timezone = ZoneInfo(plan.timezone)
        self._queues = {queue.name: queue for queue in plan.queues}

    def decided(
        self,
        delivery: Delivery,
        peek: Peek,
        decision: Rest | Drop | SetAside,
        now: datetime,
    ) -> Settlement:
        """The settlement of a delivery that is not run now."""
        match decision:
            case Rest(until=until, counted=counted, why=why):
                # Its own time needs no reason.
                back = Requeue(
                    due_at=until, front=True, counted=counted, why=why if counted else None
                )
                return Settlement(delivery.receipt, back)
            case Drop(state=state, error=error):
                effects = self._effects(delivery, peek, state, error, now)
                return Settlement(delivery.receipt, Ack(), effects)
            case SetAside(error=error, why=why):
                effects = self._effects(delivery, peek, "FAILURE", error, now)
                return Settlement(delivery.receipt, _aside(why, error), effects)

    def undecodable(self, delivery: Delivery, error: Exception) -> Settlement:
        """The settlement of a message whose envelope cannot be read."""
        return Settlement(delivery.receipt, _aside("undecodable", error))

    def set_aside(self, entry: Entry, settlement: Settlement, verdict: Quarantine) -> Effects:
        """What a verdict means for a message that was acknowledged early: there is no claim."""
        delivery = entry.delivery
        aside = Aside(
            queue=delivery.queue,
            raw=delivery.raw,
            verdict=verdict,
            count=delivery.count,
            worker=self._plan.node,
        )
        return msgspec.structs.replace(settlement.effects, asides=(aside,))

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
        delivery = entry.delivery
        if entry.run.traits.ack_timeout:
            effects = self._found(delivery, entry.peek, "FAILURE", error, now, entry.run.traits)
            done = self._failed(entry, "time limit", error)
            return Settlement(delivery.receipt, done, effects), error
        # It runs again, and so may what follows it.
        back = Requeue(front=False, counted=True)
        records = self._own(delivery.raw, entry.peek, "FAILURE", error, now, entry.run.traits)
        return Settlement(entry.delivery.receipt, back, Effects(records)), error

    def terminated(self, entry: Entry, now: datetime, why: str = "terminated") -> Settlement:
        """Revoked while it ran, with ``terminate``, or here before it began (``revoked``)."""
        error = TaskRevokedError(why)
        effects = self._effects(entry.delivery, entry.peek, "REVOKED", error, now)
        return Settlement(entry.delivery.receipt, Ack(), effects)

    def lost(
        self, entry: Entry, status: int | None, now: datetime
    ) -> tuple[Settlement, WorkerLostError]:
        """The executor died under the task."""
        error = WorkerLostError(f"{_death(status)} while it ran this task")
        receipt, count = entry.delivery.receipt, entry.delivery.count
        delivery, peek = entry.delivery, entry.peek
        most = self._plan.max_deliveries
        if entry.run.traits.requeue_lost and not entry.acked:
            if most is None or count < most:
                delay = LOST_DELAYS[min(count, len(LOST_DELAYS)) - 1]
                due = now + timedelta(seconds=delay) if delay else None
                back = Requeue(due_at=due, front=False, counted=True, why=str(error))
                return Settlement(receipt, back), error
            why = f"its executor died at each of {count} deliveries ({error})"
            effects = self._found(delivery, peek, "FAILURE", WorkerLostError(why), now)
            aside = _aside("worker lost", WorkerLostError(why))
            return Settlement(receipt, aside, effects), error
        effects = self._found(delivery, peek, "FAILURE", error, now, entry.run.traits)
        done = self._failed(entry, "worker lost", error)
        return Settlement(receipt, done, effects), error

    def told_later(self, entry: Entry, settlement: Settlement, error: BaseException) -> Settlement:
        """The end of a failed run that no executor here tells of: a message has another do it."""
        if isinstance(settlement.verdict, Requeue):
            return settlement  # it runs again
        message = opened(entry.delivery.raw)
        sent = self._untold(entry.delivery, entry.peek, message, "FAILURE", error)
        effects = settlement.effects
        effects = msgspec.structs.replace(effects, outgoing=(*effects.outgoing, *sent))
        return msgspec.structs.replace(settlement, effects=effects)

    def _failed(self, entry: Entry, reason: str, error: BaseException) -> Ack | Quarantine:
        """The verdict of a final failure: done, unless the task wants its failures kept."""
        return _aside(reason, error) if entry.run.traits.quarantine_failures else Ack()

    def _effects(
        self,
        delivery: Delivery,
        peek: Peek,
        state: str,
        error: BaseException,
        now: datetime,
    ) -> Effects:
        """The record of this end, and all that follows: nobody else tells of it."""
        message = opened(delivery.raw)
        found = self._found(delivery, peek, state, error, now, message=message)
        sent = self._untold(delivery, peek, message, state, error)
        return msgspec.structs.replace(found, outgoing=sent) if sent else found

    def _found(
        self,
        delivery: Delivery,
        peek: Peek,
        state: str,
        error: BaseException,
        now: datetime,
        traits: TaskTraits | None = None,
        *,
        message: TaskMessage | Closed | None = None,
    ) -> Effects:
        """The record of this end, and what it means for what was to follow, without user code.

        An executor that is told of the end (``obituaries``) brings these and more; they hold if it
        dies over that.
        """
        if self._plan.backend_url is None:
            return NO_EFFECTS
        own = self._own(delivery.raw, peek, state, error, now, traits)
        message = message or opened(delivery.raw)
        if isinstance(message, Closed):
            return Effects(own)
        rest, joins = ended(
            message,
            self._queue(delivery),
            state,
            error,
            serializer=self._serializer,
            record=lambda one: self._record(one, state, error, now, reply_to=peek.reply_to),
        )
        return Effects((*own, *rest), (), joins)

    def _untold(
        self,
        delivery: Delivery,
        peek: Peek,
        message: TaskMessage | Closed,
        state: str,
        error: BaseException,
    ) -> tuple[Outgoing, ...]:
        queue = self._queue(delivery)
        sent = untold(message, delivery.raw, peek, queue, state, error)
        return () if sent is None else (sent,)

    def _queue(self, delivery: Delivery) -> Queue:
        named = self._queues.get(delivery.queue)
        return Queue(delivery.queue) if named is None else named

    def _own(
        self,
        raw: bytes,
        peek: Peek,
        state: str,
        error: BaseException,
        now: datetime,
        traits: TaskTraits | None = None,
    ) -> tuple[ResultRecord, ...]:
        if self._plan.backend_url is None or self._ignored(peek, traits):
            return ()
        own = self._record(
            peek.id,
            state,
            error,
            now,
            peek.parent_id,
            _group_of(raw),
            reply_to=peek.reply_to,
        )
        return (own,)

    def _record(
        self,
        task_id: str,
        state: str,
        error: BaseException,
        now: datetime,
        parent_id: str | None = None,
        group_id: str | None = None,
        *,
        reply_to: str | None,
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
            group_id=group_id,
            parent_id=parent_id,
            serializer=self._serializer,
            timezone=self._timezone,
        )
        return ResultRecord(
            task_id=task_id,
            state=state,
            document=document,
            final=final,
            expires=expires,
            reply_to=reply_to,
        )

    def _ignored(self, peek: Peek, traits: TaskTraits | None) -> bool:
        traits = traits or self._plan.tasks.get(peek.task)
        if traits is not None and traits.store_errors:
            return False
        if peek.ignore_result is not None:
            return peek.ignore_result
        return traits is not None and traits.ignore_result


def _aside(reason: str, error: BaseException) -> Quarantine:
    text = str(error)
    return Quarantine(reason, text if text != reason else None, type(error).__name__)


def _group_of(raw: bytes) -> str | None:
    try:
        group = envelope.load(raw).headers.get("group")
    except WireError:
        return None
    return group if isinstance(group, str) else None


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
