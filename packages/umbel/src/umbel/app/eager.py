"""Running a task here and now: ``Task.apply``, and every call while ``task_always_eager`` is on.

The run itself is ``running.run_task``, the same as in a worker. What a worker would have done with
its outcome is done here: retries run at once, callbacks and errbacks are sent (or run, while
``task_always_eager`` is on), and the result is stored where that was asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app.context import Context
from umbel.app.eager_results import EagerResult
from umbel.app.repeating import EagerRetry, EagerWorkflow
from umbel.app.running import ErrorInfo, run_task
from umbel.app.storing import make_record
from umbel.errors import TaskError
from umbel.model.message import TaskMessage
from umbel.model.outcome import Failed, Ignored, Outcome, Rejected, Retried, Succeeded
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task


def apply(
    task: Task[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    throw: bool,
) -> EagerResult[Any]:
    """Run the task to its end, retries included, and return how it ended.

    Raises what the task raised when ``throw``.
    """
    given = {name: value for name, value in given.items() if name not in ("countdown", "eta")}
    return run_message(task, task.plan.prepare(args, kwargs, given).message, throw=throw)


def run_message(
    task: Task[..., Any], message: TaskMessage, *, throw: bool = False
) -> EagerResult[Any]:
    """Run this message here, and whatever it asks to run in its place."""
    end = run_to_end(task, message)
    if end.instead is not None:
        end = task.app.run_instead(end)
    _call_back(end.task, end.message, end.request, end.outcome)
    if throw and end.result.failed():
        end.result.get(disable_sync_subtasks=False)
    return end.result


class End(msgspec.Struct):
    """How a message that ran here ended, retries and replacements by one task included."""

    task: Any
    message: TaskMessage
    request: Context
    outcome: Outcome
    result: EagerResult[Any]
    instead: Any = None
    """The launches of a workflow that takes its place."""


def run_to_end(task: Task[..., Any], message: TaskMessage) -> End:
    """Run this message, and store its result where that was asked for; what follows is not sent."""
    while True:
        request = Context.from_message(message, hostname=socket.gethostname(), is_eager=True)
        outcome = run_task(task, message, request)
        following = _following(outcome, request)
        if following is None:
            break
        message = following
        task = task.app.tasks[message.task]
    result = _result(task, message, outcome)
    instead = None
    if isinstance(outcome, Ignored) and isinstance(outcome.message, EagerWorkflow):
        instead = outcome.message.steps
    if task.store_eager_result and not message.ignore_result and result.state != "IGNORED":
        _store(task, result, request)
    return End(task, message, request, outcome, result, instead)


def with_arguments(
    message: TaskMessage, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TaskMessage:
    """Return the message with these arguments."""
    return msgspec.structs.replace(message, args=args, kwargs=kwargs)


def failure_of(end: End) -> BaseException:
    """Return the error that what follows a run, which has no value, fails with."""
    found = end.result.result
    if isinstance(found, BaseException):
        return found
    return TaskError(f"{end.task.name}[{end.message.id}] raised Ignore, so it has no value")


def _following(outcome: Outcome, request: Context) -> TaskMessage | None:
    """Return the message to run next in place of this one: a retry, or a replacement."""
    if isinstance(outcome, Retried) and isinstance(outcome.message, EagerRetry):
        return outcome.message.message
    if isinstance(outcome, Ignored):
        for replacement in request.get("replacements", ()):
            if isinstance(replacement, EagerRetry):
                return replacement.message
    return None


def through_serializer(
    task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], name: str | None
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments as a worker would get them. Raises EncodeError."""
    serializer = SERIALIZERS.get(name or task.serializer)
    data = serializer.dumps((list(args), dict(kwargs)))
    args, kwargs = serializer.loads(data)
    return args, kwargs


def _result(task: Task[..., Any], message: TaskMessage, outcome: Outcome) -> EagerResult[Any]:
    value: Any
    traceback: str | None = None
    match outcome:
        case Succeeded(value=value):
            state = "SUCCESS"
        case Failed(error=value, traceback=traceback):
            state = "FAILURE"
        case Rejected(error=value, traceback=traceback, requeue=requeue):
            state = "REJECTED" if requeue else "FAILURE"
        case Retried(error=value, traceback=traceback):
            state = "RETRY"
        case Ignored():
            state, value = "IGNORED", None
    return EagerResult(message.id, value, state, traceback=traceback, name=task.name)


def _store(task: Task[..., Any], result: EagerResult[Any], request: Context) -> None:
    record = make_record(
        task.app,
        task_id=result.id,
        state=result.state,
        result=result.result,
        traceback=result.traceback,
        request=request,
    )
    (task.own_backend or task.app.result_backend).store([record])


def _call_back(
    task: Task[..., Any], message: TaskMessage, request: Context, outcome: Outcome
) -> None:
    """Send what follows: callbacks with the value, errbacks with the failure."""
    if isinstance(outcome, Succeeded):
        for callback in message.callbacks or ():
            task.app.send_signature(callback, (outcome.value,))
    elif isinstance(outcome, Failed):
        error = outcome.error
        for errback in message.errbacks or ():
            if not called_here(task.app, errback, request, error):
                task.app.send_signature(errback, (message.id,))


def called_here(
    app: App, errback: Mapping[str, Any], request: Context, error: BaseException
) -> bool:
    """Call an errback that wants (request, exception, traceback); others are sent.

    Celery's rule: a registered, unbound task that takes more than one argument beside those it
    already has is called in place.
    """
    known = app.tasks.get(errback["task"])
    if known is None or known.bound or known.arity - len(errback.get("args") or ()) <= 1:
        return False
    args = tuple(errback.get("args") or ())
    known(request, error, ErrorInfo(error).traceback, *args, **(errback.get("kwargs") or {}))
    return True
