"""What follows a run: callbacks, the next step of its chain, error callbacks, its slot in a chord.

Called by ``execution``. What follows is decided by ``workflows.advancing``; here it becomes
messages, encoded, and records, which the supervisor performs with the settlement, in one step, so
that a workflow never loses its next step.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app.context import Context
from umbel.app.errbacks_due import EndDue, ErrbacksDue
from umbel.app.sending import told_before
from umbel.app.workflow_calls import counting_backend, prepared
from umbel.errors import TaskError, WireError
from umbel.model.delivery import NO_EFFECTS, Effects
from umbel.model.join import CloseJoin, FillSlot, JoinStep, OpenJoin
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp, Outgoing, Queue
from umbel.wire import envelope, task_v2
from umbel.wire.gathering import gathering_message
from umbel.wire.join_part import encode_part
from umbel.wire.serializers import SERIALIZERS
from umbel.workflows.advancing import (
    Errback,
    NeverBegun,
    Slot,
    body_workflow,
    callbacks_of,
    errbacks_of,
    errbacks_of_body,
    never_begun,
    next_step,
    slot_of,
    with_ids,
)
from umbel.workflows.freezing import handle_on, ids_after
from umbel.workflows.headers import HeaderOver
from umbel.workflows.planning import Sig, launches

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task
    from umbel.worker.recording import Recorder

logger = logging.getLogger("umbel.worker.task")


class Following:
    """What follows the runs of one app. Thread-safe."""

    def __init__(self, app: App, recorder: Recorder) -> None:
        self._app = app
        self._recorder = recorder
        settings = app.settings
        self._serializer = SERIALIZERS.get(settings.result_serializer)
        self._compression = settings.result_compression
        self._expires = settings.result_chord_expires
        """Of an unfinished chord: None, unless the setting is given, is for ever."""
        self._kept = settings.result_chord_expires

    # --- ends of runs -----------------------------------------------------------------------------

    def after_success(self, task: Task[..., Any], request: Context, value: Any) -> Effects:
        """Return the callbacks and the next step, called with the value, and the slot filled."""
        message = request.message
        assert message is not None
        made = _Made()
        for callback in callbacks_of(message):
            self.begin(callback, (value,), request, task, made)
        step = next_step(message)
        if step is not None:
            self.begin(step, (value,), request, task, made)
        self._additions(request, made)
        slot = slot_of(message)
        if slot is not None:
            made.joins.append(self._filled(slot, "SUCCESS", value, request))
        return made.effects()

    def _additions(self, request: Context, made: _Made) -> None:
        """Add what the run added to its chord: before its own slot is filled."""
        for addition in request.additions:
            made.joins.append(addition.grow)
            made.outgoing.extend(addition.outgoing)

    def after_failure(
        self,
        task: Task[..., Any],
        request: Context,
        error: BaseException,
        traceback: str | None,
        state: str = "FAILURE",
    ) -> Effects:
        """Return what a failure ends: the steps that never begin, slots, error callbacks.

        Error callbacks that want the exception are called right here. Never raises for one that
        cannot be sent: that is logged, and the failure stays what it is. What was REVOKED has none
        called, as with Celery.
        """
        message = request.message
        assert message is not None
        made = _Made()
        self._additions(request, made)
        slot = slot_of(message)
        if slot is not None:
            made.joins.append(self._filled(slot, state, error, request))
        self._leave_out(never_begun(message.chain), error, traceback, state, request, made)
        if state == "FAILURE":
            self._call_back(errbacks_of(message), task, request, error, traceback, made)
        return made.effects()

    def after_ignore(self, task: Task[..., Any], request: Context, instead: Any) -> Effects:
        """Return what takes the place of a run that told to ignore it.

        Where nothing does, no value will come: what waits for one fails, and is not left waiting.
        """
        if isinstance(instead, Effects):
            return instead
        if instead is not None:
            return Effects(outgoing=(instead,))
        message = request.message
        if message is None or not (message.chain or message.chord):
            return NO_EFFECTS
        error = TaskError(f"{task.name}[{request.id}] raised Ignore, so it has no value")
        made = _Made()
        slot = slot_of(message)
        if slot is not None:
            made.joins.append(self._filled(slot, "FAILURE", error, request))
        self._leave_out(never_begun(message.chain), error, None, "FAILURE", request, made)
        return made.effects()

    def after_built_in(
        self, task: Task[..., Any], request: Context, end: HeaderOver | ErrbacksDue | EndDue
    ) -> Effects:
        """Return what a built-in task of workflows found to do."""
        if isinstance(end, HeaderOver):
            return self.header_over(task, request, end)
        if isinstance(end, EndDue):
            return self.after_unrun(task, end)
        return self.errbacks_due(task, end)

    def after_unrun(self, task: Task[..., Any], end: EndDue) -> Effects:
        """Return what follows a run that nobody could begin. What cannot be read ends alone."""
        try:
            message = self._app.decode(envelope.load(end.raw))
        except WireError as error:
            logger.error(
                "What was to follow a task that ended %s is not told: %s", end.state, error
            )
            return NO_EFFECTS
        request = Context.from_message(message, queue=end.queue)
        effects = self.after_failure(task, request, end.error, None, end.state)
        records = self._recorder.addressed(effects.records, message)
        return msgspec.structs.replace(effects, records=tuple(records))

    def errbacks_due(self, task: Task[..., Any], due: ErrbacksDue) -> Effects:
        """Call, or return the messages of, the error callbacks of a run that was killed."""
        made = _Made()
        about = [Errback(due.request.id, one) for one in due.signatures]
        self._call_back(about, task, due.request, due.error, None, made)
        return made.effects()

    # --- the end of a header ----------------------------------------------------------------------

    def header_over(self, task: Task[..., Any], request: Context, over: HeaderOver) -> Effects:
        """Return how a chord goes on: the first messages of its body, or the body's failure.

        The body is a child of the run that filled the last slot.
        """
        made = _Made()
        family = Context(id=request.parent_id or request.id, root_id=request.root_id)
        try:
            if over.error is None:
                body = body_workflow(over.body, over.join_id)
                self.begin(body, (over.values,), family, None, made)
        except Exception as error:  # noqa: BLE001 - such as values that its serializer cannot write
            made = _Made()
            over = msgspec.structs.replace(over, error=error)
        if over.error is not None:
            self._fail_body(task, family, request.queue, over, over.error, made)
        made.joins.append(CloseJoin(over.join_id))
        return made.effects()

    def _fail_body(
        self,
        task: Task[..., Any],
        family: Context,
        queue: str,
        over: HeaderOver,
        error: BaseException,
        made: _Made,
    ) -> None:
        family.update(queue=queue)
        self._leave_out(never_begun([over.body]), error, None, "FAILURE", family, made)
        for errback in errbacks_of_body(over.body):
            about = Context(
                id=errback.failed_id,
                task=over.body.get("task"),
                root_id=family.root_id,
                parent_id=family.id,
                group=over.join_id,
            )
            self._call_back([errback], task, about, error, None, made)

    # --- pieces -----------------------------------------------------------------------------------

    def begin(
        self,
        sig: Sig,
        args: Sequence[Any],
        request: Context,
        task: Task[..., Any] | None,
        made: _Made,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the messages that begin a workflow in normal form, as children of this run."""
        family = {"parent_id": request.id, "root_id": request.root_id, **(more or {})}
        for step in launches(sig, args, expires=self._expires):
            if isinstance(step, OpenJoin):
                counting_backend(self._app)
                made.joins.append(step)
                continue
            # Who waits for the first result waits for the others: at the same place (rpc://).
            options = {"reply_to": request.reply_to, **step.options, **family}
            launch = msgspec.structs.replace(step, options=options)
            made.outgoing.append(told_before(self._app, prepared(self._app, launch)))
        if task is not None and task.trail:
            handle = handle_on(first_of(sig), self._app)
            if handle is not None:
                request.children.append(handle)

    def _filled(self, slot: Slot, state: str, value: Any, request: Context) -> FillSlot:
        part = encode_part(
            slot.task_id,
            state,
            value,
            serializer=self._serializer,
            compression=self._compression,
        )
        return FillSlot(
            slot.join_id, slot.task_id, slot.index, part, self._then(slot, request), self._kept
        )

    def _then(self, slot: Slot, request: Context) -> FollowUp:
        """Return the message that goes on with the body; to the queue that this run came from."""
        message = gathering_message(
            slot.join_id, slot.body, parent_id=request.id or slot.task_id, root_id=request.root_id
        )
        serializer = SERIALIZERS.get(self._app.settings.task_serializer)
        raw = envelope.dump_compact(task_v2.encode(message, serializer=serializer))
        queue = request.queue
        return FollowUp(raw, self._app.router.named(queue) if queue else Queue("celery"), None)

    def _leave_out(
        self,
        left: Iterable[NeverBegun],
        error: BaseException,
        traceback: str | None,
        state: str,
        request: Context,
        made: _Made,
    ) -> None:
        for one in left:
            never = self._recorder.never_begun(one.task_id, state, error, traceback)
            made.records.extend(never)
            if one.slot is not None:
                made.joins.append(self._filled(one.slot, state, error, request))

    def _call_back(
        self,
        errbacks: Iterable[Errback],
        task: Task[..., Any],
        request: Context,
        error: BaseException,
        traceback: str | None,
        made: _Made,
    ) -> None:
        for number, errback in enumerate(errbacks):
            try:
                local = self._app.tasks.get(errback.signature["task"])
                if local is not None and wants_error(local, errback.signature):
                    _tell(local, errback.signature, request, error, traceback)
                    continue
                make = ids_after(errback.failed_id, "errback", number)
                call = with_ids(errback.signature, make)
                self.begin(call, (errback.failed_id,), request, task, made)
            except Exception:  # of whatever shape somebody sent; the failure must be told
                logger.exception(
                    "Task %s[%s] failed, and an error callback of it cannot be sent",
                    task.name,
                    request.id,
                )


class _Made:
    """Effects as they are gathered."""

    __slots__ = ("joins", "outgoing", "records")

    def __init__(self) -> None:
        self.records: list[ResultRecord] = []
        self.outgoing: list[Outgoing] = []
        self.joins: list[JoinStep] = []

    def effects(self) -> Effects:
        return Effects(tuple(self.records), tuple(self.outgoing), tuple(self.joins))


def first_of(sig: Sig) -> Sig:
    """Return what of a workflow begins at once: of a chain its first step, of others all."""
    if sig["subtask_type"] == "chain":
        tasks: list[Sig] = sig["kwargs"]["tasks"]
        return first_of(tasks[0]) if tasks else sig
    return sig


def wants_error(errback: Task[..., Any], signature: Mapping[str, Any]) -> bool:
    """Tell whether an error callback is called with (request, exception, traceback).

    Celery's documented rule: an unbound one, registered here, that takes more than one argument
    beside those it has; any other is sent with the failed task's id.
    """
    if errback.bound or signature.get("immutable") or signature.get("subtask_type"):
        return False
    parameters = inspect.signature(errback.run).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return True
    taken = sum(1 for each in parameters if each.kind in kinds)
    return taken - len(signature.get("args") or ()) > 1


def _tell(
    errback: Task[..., Any],
    signature: Mapping[str, Any],
    request: Context,
    error: BaseException,
    traceback: str | None,
) -> None:
    args, kwargs = tuple(signature.get("args") or ()), signature.get("kwargs") or {}
    try:
        errback(request, error, traceback, *args, **kwargs)
    except Exception:
        logger.exception("The errback %s of task %s raised", errback.name, request.id)
