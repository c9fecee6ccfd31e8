"""A run that sends itself again, or something in its place: ``Task.retry`` and ``Task.replace``.

Nothing is published here. The message is encoded and travels on the exception; whoever ran the
task sends it together with the end of the run, so that neither can happen without the other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from umbel.app import options
from umbel.app.context import Context
from umbel.app.send_plan import Call
from umbel.app.sending import told_before
from umbel.errors import Ignore, ImproperlyConfigured, MaxRetriesExceededError, Retry, UsageError
from umbel.model.message import TaskMessage

if TYPE_CHECKING:
    from umbel.app.task import Task


class EagerRetry(msgspec.Struct, frozen=True):
    """In the place of an ``Outgoing`` when the task runs eagerly: run this message next."""

    message: TaskMessage
    due_at: datetime | None = None


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``Task.retry`` was called with."""

    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None
    exc: BaseException | None
    eta: Any
    countdown: float | None
    max_retries: int | None
    options: Mapping[str, Any]


def retry(task: Task[..., Any], wanted: RetryRequest) -> Retry:
    """Return the Retry to raise, with the next try on it.

    Raises ``exc`` (or MaxRetriesExceededError) when the task has no tries left, and for a plain
    call, where there is no message to send again.
    """
    request = task.request
    if request.called_directly:
        _refuse(wanted.exc or Retry("Task can be retried", None))
    args = request.args if wanted.args is None else wanted.args
    kwargs = request.kwargs if wanted.kwargs is None else wanted.kwargs
    limit = task.max_retries if wanted.max_retries is None else wanted.max_retries
    retries = request.retries + 1
    if limit is not None and retries > limit:
        _refuse(wanted.exc or _exhausted(task, request, args, kwargs))
    countdown = wanted.countdown
    if wanted.eta is None and countdown is None:
        countdown = task.default_retry_delay
    when = countdown if wanted.eta is None else options.moment(wanted.eta, "eta")
    exc = wanted.exc or _current_error()
    result = Retry(exc=exc, when=when, is_eager=request.is_eager)
    given = {
        **_way_of(request),
        **wanted.options,
        "retries": retries,
        "eta": wanted.eta,
        "countdown": countdown,
    }
    call = task.plan.prepare(args, kwargs, given)
    call.message = _same_family(call.message, request)
    if request.is_eager:
        result.outgoing = EagerRetry(call.message)
    else:
        result.outgoing = told_before(task.app, call)
    return result


def _way_of(request: Context) -> dict[str, Any]:
    """Return the options that send a message the way this one came."""
    way = request.as_execution_options()
    info = request.delivery_info or {}
    queue = request.queue or info.get("routing_key")
    if queue:
        way["queue"] = queue
    message = request.message
    way["priority"] = message.priority if message is not None else info.get("priority")
    way["ignore_result"] = request.ignore_result
    way["correlation_id"] = request.correlation_id
    if message is not None:
        # Shown as its sender wanted it shown: an override may hide a secret.
        way["argsrepr"], way["kwargsrepr"] = message.argsrepr, message.kwargsrepr
    return way


def _same_family(message: TaskMessage, request: Context) -> TaskMessage:
    # A retry is the same run once more, not a child of itself.
    return msgspec.structs.replace(
        message, root_id=request.root_id or request.id, parent_id=request.parent_id
    )


def _refuse(error: BaseException) -> NoReturn:
    current = _current_error()
    if error is current or current is None:
        raise error
    raise error from current


def _current_error() -> BaseException | None:
    return sys.exc_info()[1]


def _exhausted(
    task: Task[..., Any], request: Context, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> MaxRetriesExceededError:
    return MaxRetriesExceededError(
        f"Can't retry {task.name}[{request.id}] args:{args} kwargs:{kwargs}",
        task_args=args,
        task_kwargs=kwargs,
    )


# --- replacing ------------------------------------------------------------------------------------


def replacement(task: Task[..., Any], signature: Mapping[str, Any]) -> Call:
    """Return the call that takes the place of the current run: its id, callbacks, memberships."""
    if signature.get("subtask_type"):
        raise UsageError(
            f"{task.name} cannot be replaced by a {signature['subtask_type']}: only plain "
            "signatures (task.s(...)) can take a task's place so far."
        )
    if not signature.get("task"):
        raise ImproperlyConfigured(f"{task.name}: the replacement {signature!r} names no task.")
    request = task.request
    own = dict(signature.get("options") or {})
    way = request.as_execution_options()
    taken = ("task_id", "group_id", "group_index", "chord", "chain", "root_id", "parent_id")
    given = {
        **own,
        **{name: way[name] for name in taken},
        "link": [*_listed(own.get("link")), *(request.callbacks or ())],
        "link_error": [*_listed(own.get("link_error")), *(request.errbacks or ())],
        "headers": {**(way["headers"] or {}), **(own.get("headers") or {})},
        "replaced_task_nesting": request.replaced_task_nesting + 1,
        "reply_to": request.reply_to,
        "stamps": way["stamps"],
        "stamped_headers": way["stamped_headers"],
    }
    plan = task.app.plan_for(signature["task"])
    call = plan.prepare(
        tuple(signature.get("args") or ()), dict(signature.get("kwargs") or {}), given
    )
    call.message = _same_family(call.message, request)
    return call


def replaced(task: Task[..., Any], call: Call) -> Ignore:
    """Return the Ignore to raise, with the replacement on it."""
    directive = Ignore(f"replaced by {call.message.task}")
    if task.request.is_eager:
        directive.outgoing = EagerRetry(call.message)
    else:
        directive.outgoing = told_before(task.app, call)
    return directive


def _listed(value: Any) -> list[Any]:
    if not value:
        return []
    return [value] if isinstance(value, Mapping) else list(value)
