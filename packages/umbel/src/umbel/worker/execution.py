"""One run, as an executor sees it: assignment in, report out.

The steps: open the envelope · decode the message · find the task · build the request · run it
(``app.running``) · encode the record · work out what follows · report. Nothing is sent or stored
here: the report says what must happen, and the supervisor performs it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app.cancellations import Cancellations
from umbel.app.context import Context
from umbel.app.errbacks_due import EndDue, ErrbacksDue
from umbel.app.running import run_task, run_task_async, traceback_text
from umbel.app.signals import task_received
from umbel.errors import NotRegistered, WireError
from umbel.model.assignment import Account, Assignment, Began, Obituary, Report
from umbel.model.delivery import NO_EFFECTS, Ack, Effects, Quarantine, Requeue, Verdict
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.model.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    ResultRecord,
    Retried,
    Succeeded,
)
from umbel.model.queues import FollowUp, Outgoing
from umbel.wire import envelope
from umbel.wire.plain_task import read_plain
from umbel.wire.reprs import safe_repr
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.worker.announcing import WorkerFace, tell_notice, tell_received, tell_rejected
from umbel.worker.following import Following
from umbel.worker.obituaries import error_of
from umbel.worker.recording import Recorder
from umbel.worker.workflow_ends import ENDED_TASK
from umbel.workflows.headers import HeaderOver

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task

logger = logging.getLogger("umbel.worker.task")

NEVER_RAN = 0.0
_ACK = Ack()


class Prepared(msgspec.Struct):
    """An assignment, opened: ready to run, or already decided (``report``)."""

    assignment: Assignment
    task: Any = None
    message: TaskMessage | None = None
    request: Any = None
    began: Began | None = None
    report: Report | None = None


class Execution:
    """Runs assignments of one app in one executor process. Thread-safe."""

    def __init__(self, app: App, *, node: str, pid: int) -> None:
        self._app = app
        self._node = node
        self._face = WorkerFace(app, node)
        self._tasks = app.tasks
        self._recorder = Recorder(app, node=node, pid=pid)
        self._following = Following(app, self._recorder)
        self.cancellations = Cancellations()
        """Written by the slots: which of the runs here should end."""
        accepted = SERIALIZERS.content_types(app.settings.accept_content)
        # Only where nobody has put a serializer of their own in the place of ours.
        self._reads_json = JSON.content_type in accepted and SERIALIZERS.get("json") is JSON

    def prepare(self, assignment: Assignment) -> Prepared:
        """Open the envelope and find the task. Never raises for what a message contains."""
        try:
            return self._open(assignment)
        except (WireError, NotRegistered, KeyError) as error:
            return Prepared(assignment, report=self._undecodable(assignment, error))
        except Exception as error:
            # A message is the outside world: whatever it does to us is its own fault.
            logger.exception("Opening a message from queue %s failed", assignment.queue)
            return Prepared(assignment, report=self._undecodable(assignment, error))

    def _open(self, assignment: Assignment) -> Prepared:
        found = assignment.obituary
        if found is not None and not isinstance(found, Obituary):
            tell_notice(self._face, found, assignment.raw, assignment.queue)
            return Prepared(assignment, report=_told(assignment))
        message = self._message(assignment.raw)
        task = self._tasks[message.task]
        request = Context.from_message(
            message,
            hostname=self._node,
            queue=assignment.queue,
            redelivered=assignment.redelivered,
            assignment=assignment.id,
            cancellations=self.cancellations,
        )
        if found is not None:
            return self._mourn(Prepared(assignment, task, message, request), found)
        if task_received.receivers:
            tell_received(self._face, request)
        record = self._recorder.started(task, message)
        began = None if record is None else Began(assignment.id, record)
        return Prepared(assignment, task, message, request, began)

    def _mourn(self, prepared: Prepared, found: Obituary) -> Prepared:
        """The supervisor has found its end: tell who follows, as after any other failure."""
        error = error_of(found)
        report = self._failure(prepared, Failed(error, None), NEVER_RAN)
        return Prepared(prepared.assignment, report=report)

    def _message(self, raw: bytes) -> TaskMessage:
        if self._reads_json:
            message = read_plain(raw)
            if message is not None:
                return message
        return self._app.decode(envelope.load(raw))

    def run(self, prepared: Prepared) -> Report:
        """Run on this thread and report."""
        if prepared.report is not None:
            return prepared.report
        assert prepared.message is not None
        start = time.perf_counter()
        outcome = run_task(prepared.task, prepared.message, prepared.request)
        return self._report(prepared, outcome, time.perf_counter() - start)

    def run_contained(self, prepared: Prepared) -> Report:
        """Run beside others: a task that calls ``exit`` ends itself, not the process."""
        try:
            return self.run(prepared)
        except (SystemExit, KeyboardInterrupt) as error:
            return self.failed(prepared, error)

    def on_loop(self, prepared: Prepared) -> bool:
        """Whether ``run_async`` can run it. Middleware is synchronous: it needs a thread."""
        task = prepared.task
        return task is not None and task.is_async and not self._app.middleware

    async def run_async(self, prepared: Prepared) -> Report:
        """Run a coroutine task on the running loop and report."""
        if prepared.report is not None:
            return prepared.report
        assert prepared.message is not None
        start = time.perf_counter()
        outcome = await run_task_async(prepared.task, prepared.message, prepared.request)
        return self._report(prepared, outcome, time.perf_counter() - start)

    def failed(self, prepared: Prepared, error: BaseException) -> Report:
        """Report a run that was ended from outside."""
        if prepared.report is not None:
            return prepared.report
        return self._report(prepared, Failed(error, None), NEVER_RAN)

    # --- the report -------------------------------------------------------------------------------

    def _report(self, prepared: Prepared, outcome: Outcome, seconds: float) -> Report:
        try:
            return self._settled(prepared, outcome, seconds)
        except Exception as error:  # noqa: BLE001 - a value or follow-up that cannot be encoded
            # The outcome itself cannot be told; that it cannot is the task's failure. It is never
            # a failure that comes here: to tell one always succeeds, and runs its callbacks once.
            failure = Failed(error, traceback_text(error))
            return self._failure(prepared, failure, seconds)

    def _settled(self, prepared: Prepared, outcome: Outcome, seconds: float) -> Report:
        task, message, request = prepared.task, prepared.message, prepared.request
        assert message is not None
        match outcome:
            case Succeeded(value=value):
                more = NO_EFFECTS
                if message.callbacks or message.chain or message.chord or request.additions:
                    more = self._following.after_success(task, request, value)
                records = self._recorder.succeeded(task, message, request, value)
                _log_success(task, message, value, seconds)
                account = None
                if prepared.assignment.watched:
                    account = Account(safe_repr(value, maxlen=task.resultrepr_maxsize))
                return self._say(prepared, "SUCCESS", _ACK, records, more, seconds, account)
            case Failed():
                return self._failure(prepared, outcome, seconds)
            case Retried():
                records = self._recorder.retried(task, message, request, outcome)
                _log(task, message, logging.INFO, "retry: %s", outcome.why)
                sent = () if outcome.message is None else (outcome.message,)
                account = _account(prepared, outcome.error, outcome.traceback)
                more = Effects(outgoing=sent)
                return self._say(prepared, "RETRY", Ack(), records, more, seconds, account)
            case Ignored(message=HeaderOver() | ErrbacksDue() | EndDue() as end):
                more = self._following.after_built_in(task, request, end)
                return self._say(prepared, "IGNORED", Ack(), (), more, seconds)
            case Ignored():
                _log(task, message, logging.INFO, "ignored%s", "")
                more = self._following.after_ignore(task, request, outcome.message)
                return self._say(prepared, "IGNORED", Ack(), (), more, seconds)
            case Rejected(requeue=True):
                _log(
                    task,
                    message,
                    logging.WARNING,
                    "rejected: %s (back to its queue)",
                    outcome.error,
                )
                back = Requeue(front=False, counted=True)
                return self._say(prepared, "REJECTED", back, (), NO_EFFECTS, seconds)
            case Rejected():
                words = "rejected: %s (set aside)"
                _log(task, message, logging.WARNING, words, outcome.error)
                more = self._following.after_failure(task, request, outcome.error, None)
                records = self._recorder.failed(task, message, request, outcome.error, None)
                error = outcome.error
                aside = Quarantine("rejected", str(error), type(error).__name__)
                return self._say(prepared, "REJECTED", aside, records, more, seconds)

    def _failure(self, prepared: Prepared, outcome: Failed, seconds: float) -> Report:
        task, message, request = prepared.task, prepared.message, prepared.request
        assert message is not None
        error, text = outcome.error, outcome.traceback
        more = self._following.after_failure(task, request, error, text)
        try:
            records = self._recorder.failed(task, message, request, error, text)
        except Exception:  # such as arguments, for an extended result, that cannot be encoded
            words = "Task %s[%s]: its failure is stored without arguments and children"
            logger.exception(words, task.name, message.id)
            records = self._recorder.failed_plainly(task, message, error, text)
        _log_failure(task, message, error, text)
        verdict: Verdict = Ack()
        if _is_kept(task, error):
            reason = "retries exhausted" if message.retries else "failed"
            verdict = Quarantine(reason, text or str(error), type(error).__name__)
        account = _account(prepared, error, text)
        return self._say(prepared, "FAILURE", verdict, records, more, seconds, account)

    def _say(
        self,
        prepared: Prepared,
        state: str,
        verdict: Verdict,
        records: Sequence[ResultRecord],
        more: Effects,
        seconds: float,
        account: Account | None = None,
    ) -> Report:
        number = prepared.assignment.id
        if more is NO_EFFECTS:
            return Report(number, state, verdict, tuple(records), (), seconds, (), account)
        follow_ups = tuple(map(_follow_up, more.outgoing))
        assert prepared.message is not None
        stored = (*records, *self._recorder.addressed(more.records, prepared.message))
        return Report(number, state, verdict, stored, follow_ups, seconds, more.joins, account)

    def _undecodable(self, assignment: Assignment, error: Exception) -> Report:
        logger.error(
            "A message from queue %s cannot be run and is set aside: %s", assignment.queue, error
        )
        tell_rejected(self._face, _as_far_as_read(assignment.raw), error)
        records: tuple[ResultRecord, ...] = ()
        try:
            peek = envelope.peek(assignment.raw)
        except WireError:
            pass  # not even an id: nobody can be told
        else:
            records = self._recorder.undecodable(peek, error)
        reason = "unknown task" if isinstance(error, KeyError) else "undecodable"
        more = NO_EFFECTS
        if isinstance(error, NotRegistered):
            end = EndDue(assignment.raw, assignment.queue, "FAILURE", error)
            more = self._following.after_unrun(self._tasks[ENDED_TASK], end)
        return Report(
            assignment.id,
            "REJECTED",
            Quarantine(reason, str(error), type(error).__name__),
            (*records, *more.records),
            tuple(map(_follow_up, more.outgoing)),
            NEVER_RAN,
            more.joins,
        )


def _told(assignment: Assignment) -> Report:
    return Report(assignment.id, "IGNORED", _ACK, (), (), NEVER_RAN)


def _as_far_as_read(raw: bytes) -> EncodedMessage | bytes:
    try:
        return envelope.load(raw)
    except WireError:
        return raw


def _follow_up(sent: Outgoing) -> FollowUp:
    return FollowUp(envelope.dump_compact(sent.message), sent.queue, sent.due_at)


def _account(
    prepared: Prepared, error: BaseException | None, traceback: str | None
) -> Account | None:
    if not prepared.assignment.watched:
        return None
    return Account(None, None if error is None else safe_repr(error), traceback)


def _is_kept(task: Task[..., Any], error: BaseException) -> bool:
    """Tell whether the message of a failure that is final is set aside."""
    if task.acks_late and not task.acks("failure"):
        return True
    expected = bool(task.throws) and isinstance(error, tuple(task.throws))
    return task.quarantine_failures and not expected


# --- log lines, in the words a Celery user greps for ----------------------------------------------


def _log(task: Task[..., Any], message: TaskMessage, level: int, words: str, value: object) -> None:
    if logger.isEnabledFor(level):
        logger.log(level, f"Task %s[%s] {words}", message.shadow or task.name, message.id, value)


def _log_success(task: Task[..., Any], message: TaskMessage, value: Any, seconds: float) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info(
            "Task %s[%s] succeeded in %ss: %s",
            message.shadow or task.name,
            message.id,
            round(seconds, 6),
            safe_repr(value, maxlen=task.resultrepr_maxsize),
        )


def _log_failure(
    task: Task[..., Any], message: TaskMessage, error: BaseException, text: str | None
) -> None:
    name = message.shadow or task.name
    if task.throws and isinstance(error, tuple(task.throws)):
        logger.info("Task %s[%s] raised expected: %r", name, message.id, error)
        return
    logger.error("Task %s[%s] raised unexpected: %r\n%s", name, message.id, error, text or "")
