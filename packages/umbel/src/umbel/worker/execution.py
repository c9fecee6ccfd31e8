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

from umbel.app.context import Context
from umbel.app.running import run_task, run_task_async, traceback_text
from umbel.errors import NotRegistered, WireError
from umbel.model.assignment import Assignment, Began, FollowUp, Report
from umbel.model.delivery import Ack, Quarantine, Requeue, Verdict
from umbel.model.message import TaskMessage
from umbel.model.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    ResultRecord,
    Retried,
    Succeeded,
)
from umbel.wire import envelope
from umbel.wire.plain_task import read_plain
from umbel.wire.reprs import safe_repr
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.worker.following import after_failure, after_success
from umbel.worker.recording import Recorder

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task
    from umbel.model.queues import Outgoing

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
        self._tasks = app.tasks
        self._recorder = Recorder(app, node=node, pid=pid)
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
        message = self._message(assignment.raw)
        task = self._tasks[message.task]
        request = Context.from_message(
            message,
            hostname=self._node,
            queue=assignment.queue,
            redelivered=assignment.redelivered,
        )
        record = self._recorder.started(task, message)
        began = None if record is None else Began(assignment.id, record)
        return Prepared(assignment, task, message, request, began)

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
                outgoing = after_success(self._app, task, request, value)
                records = self._recorder.succeeded(task, message, request, value)
                _log_success(task, message, value, seconds)
                return self._say(prepared, "SUCCESS", _ACK, records, outgoing, seconds)
            case Failed():
                return self._failure(prepared, outcome, seconds)
            case Retried():
                records = self._recorder.retried(task, message, request, outcome)
                _log(task, message, logging.INFO, "retry: %s", outcome.why)
                sent = () if outcome.message is None else (outcome.message,)
                return self._say(prepared, "RETRY", Ack(), records, sent, seconds)
            case Ignored():
                _log(task, message, logging.INFO, "ignored%s", "")
                sent = () if outcome.message is None else (outcome.message,)
                return self._say(prepared, "IGNORED", Ack(), (), sent, seconds)
            case Rejected(requeue=True):
                _log(
                    task,
                    message,
                    logging.WARNING,
                    "rejected: %s (back to its queue)",
                    outcome.error,
                )
                back = Requeue(front=False, counted=True)
                return self._say(prepared, "REJECTED", back, (), (), seconds)
            case Rejected():
                words = "rejected: %s (set aside)"
                _log(task, message, logging.WARNING, words, outcome.error)
                records = self._recorder.failed(task, message, request, outcome.error, None)
                aside = Quarantine("rejected", str(outcome.error))
                return self._say(prepared, "REJECTED", aside, records, (), seconds)

    def _failure(self, prepared: Prepared, outcome: Failed, seconds: float) -> Report:
        task, message, request = prepared.task, prepared.message, prepared.request
        assert message is not None
        error, text = outcome.error, outcome.traceback
        outgoing = after_failure(self._app, task, request, error, text)
        try:
            records = self._recorder.failed(task, message, request, error, text)
        except Exception:  # such as arguments, for an extended result, that cannot be encoded
            words = "Task %s[%s]: its failure is stored without arguments and children"
            logger.exception(words, task.name, message.id)
            records = self._recorder.failed_plainly(task, message, error, text)
        _log_failure(task, message, error, text)
        verdict: Verdict = Ack()
        if task.acks_late and not task.acks("failure"):
            verdict = Quarantine("failed", text)
        return self._say(prepared, "FAILURE", verdict, records, outgoing, seconds)

    def _say(
        self,
        prepared: Prepared,
        state: str,
        verdict: Verdict,
        records: Sequence[ResultRecord],
        outgoing: Sequence[Outgoing],
        seconds: float,
    ) -> Report:
        follow_ups: tuple[FollowUp, ...] = ()
        if outgoing:
            follow_ups = tuple(
                FollowUp(envelope.dump_compact(each.message), each.queue, each.due_at)
                for each in outgoing
            )
        return Report(prepared.assignment.id, state, verdict, tuple(records), follow_ups, seconds)

    def _undecodable(self, assignment: Assignment, error: Exception) -> Report:
        logger.error(
            "A message from queue %s cannot be run and is set aside: %s", assignment.queue, error
        )
        records: tuple[ResultRecord, ...] = ()
        try:
            peek = envelope.peek(assignment.raw)
        except WireError:
            pass  # not even an id: nobody can be told
        else:
            records = self._recorder.undecodable(peek, error)
        reason = "unknown task" if isinstance(error, KeyError) else "undecodable"
        return Report(
            assignment.id, "REJECTED", Quarantine(reason, str(error)), records, (), NEVER_RAN
        )


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
