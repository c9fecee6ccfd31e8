"""Running a task here and now: ``Task.apply``, and every call while ``task_always_eager`` is on.

The run itself is ``running.run_task``, the same as in a worker. What a worker would have done with
its outcome is done here: retries run at once, callbacks and errbacks are sent (or run, while
``task_always_eager`` is on), and the result is stored where that was asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.context import Context
from umbel.app.eager_results import EagerResult
from umbel.app.repeating import EagerRetry
from umbel.app.running import ErrorInfo, run_task
from umbel.app.storing import make_record
from umbel.model.message import TaskMessage
from umbel.model.outcome import Failed, Ignored, Outcome, Rejected, Retried, Succeeded
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
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
    while True:
        request = Context.from_message(message, hostname=socket.gethostname(), is_eager=True)
        outcome = run_task(task, message, request)
        following = _following(outcome, request)
        if following is None:
            break
        message = following
        task = task.app.tasks[message.task]
    result = _result(task, message, outcome)
    if task.store_eager_result and not message.ignore_result and result.state != "IGNORED":
        _store(task, result, request)
    _call_back(task, message, request, outcome)
    if throw and result.failed():
        result.get(disable_sync_subtasks=False)
    return result


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
            if not _called_here(task, errback, request, error):
                task.app.send_signature(errback, (message.id,))


def _called_here(
    task: Task[..., Any], errback: Mapping[str, Any], request: Context, error: BaseException
) -> bool:
    """Call an errback that wants (request, exception, traceback); others are sent.

    Celery's rule: a registered, unbound task that takes more than one argument beside those it
    already has is called in place.
    """
    known = task.app.tasks.get(errback["task"])
    if known is None or known.bound or known.arity - len(errback.get("args") or ()) <= 1:
        return False
    args = tuple(errback.get("args") or ())
    known(request, error, ErrorInfo(error).traceback, *args, **(errback.get("kwargs") or {}))
    return True
