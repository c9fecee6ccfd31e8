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
from umbel.app.workflow_calls import prepared
from umbel.errors import Ignore, ImproperlyConfigured, MaxRetriesExceededError, Retry, UsageError
from umbel.model.delivery import Effects
from umbel.model.join import GrowJoin, OpenJoin
from umbel.model.message import TaskMessage
from umbel.wire.derived_ids import new_id
from umbel.workflows.freezing import assign_ids, handle_on, ids_after
from umbel.workflows.planning import (
    WORKFLOWS,
    Launch,
    add_links,
    chain_sig,
    launches,
    named,
    normal,
    placed,
    read_all,
)
from umbel.workflows.signature import Signature

if TYPE_CHECKING:
    from umbel.app.task import Task


class EagerRetry(msgspec.Struct, frozen=True):
    """In the place of an ``Outgoing`` when the task runs eagerly: run this message next."""

    message: TaskMessage
    due_at: datetime | None = None


class EagerWorkflow(msgspec.Struct, frozen=True):
    """In the place of ``Effects`` when the task runs eagerly: begin this workflow next."""

    steps: tuple[Launch | OpenJoin, ...]


class Addition(msgspec.Struct, frozen=True):
    """What a run adds to its chord: one slot more, and the messages that fill it.

    Run eagerly, ``outgoing`` holds ``EagerRetry``.
    """

    grow: GrowJoin
    outgoing: tuple[Any, ...]


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
        **_way_of(request, strict=task.app.settings.profile == "umbel"),
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


def _way_of(request: Context, *, strict: bool) -> dict[str, Any]:
    """Return the options that send a message the way this one came."""
    way = request.as_execution_options()
    info = request.delivery_info or {}
    queue = request.queue or info.get("routing_key")
    if queue:
        way["queue"] = queue
    message = request.message
    priority = message.priority if message is not None else info.get("priority")
    way["priority"] = options.priority_again(priority, strict=strict)
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


def replaced_by(task: Task[..., Any], signature: Mapping[str, Any]) -> Ignore:
    """Return the Ignore to raise, with what takes the place of the current run on it."""
    if signature.get("subtask_type") in WORKFLOWS:
        return _replaced_by_workflow(task, signature)
    call = replacement(task, signature)
    directive = Ignore(f"replaced by {call.message.task}")
    if task.request.is_eager:
        directive.outgoing = EagerRetry(call.message)
    else:
        directive.outgoing = told_before(task.app, call)
    return directive


def _replaced_by_workflow(task: Task[..., Any], signature: Mapping[str, Any]) -> Ignore:
    """Its last run gets this run's id, so that whoever waits for this one waits for that."""
    request = task.request
    whole = named(read_all(signature), request.id or new_id())
    add_links(whole, "link", list(request.callbacks or ()))
    add_links(whole, "link_error", list(request.errbacks or ()))
    steps = [whole, *map(read_all, reversed(request.chain or ()))]
    sig = chain_sig(steps) if len(steps) > 1 else whole
    assign_ids(sig, ids_after(request.id, "replaced", request.retries))
    sig = normal(sig, single=True)
    if request.chord is not None or request.group:
        sig = placed(sig, _place_of(request))
    family: dict[str, Any] = {
        "parent_id": request.parent_id,
        "root_id": request.root_id or request.id,
        "reply_to": request.reply_to,
        "replaced_task_nesting": request.replaced_task_nesting + 1,
    }
    if request.stamped_headers:
        family.update(stamps=request.stamps, stamped_headers=request.stamped_headers)
    begun: list[Launch | OpenJoin] = []
    for step in launches(sig, expires=task.app.settings.result_chord_expires):
        if isinstance(step, Launch):
            step = Launch(step.task, step.args, step.kwargs, {**step.options, **family})  # noqa: PLW2901
        begun.append(step)
    if not begun:
        raise UsageError(f"{task.name} cannot be replaced by {signature!r}: nothing is in it.")
    directive = Ignore(f"replaced by a {signature['subtask_type']}")
    if request.is_eager:
        directive.outgoing = EagerWorkflow(tuple(begun))
        return directive
    messages = [
        told_before(task.app, prepared(task.app, s)) for s in begun if isinstance(s, Launch)
    ]
    joins = [step for step in begun if isinstance(step, OpenJoin)]
    directive.outgoing = Effects(outgoing=tuple(messages), joins=tuple(joins))
    return directive


def _place_of(request: Context) -> dict[str, Any]:
    """Return the options by which another run takes this one's place among others."""
    place = {"group_id": request.group, "group_index": request.group_index, "chord": request.chord}
    return {name: value for name, value in place.items() if value is not None}


def added_to_chord(task: Task[..., Any], signature: Mapping[str, Any], *, lazy: bool) -> Any:
    """Have the chord of this run wait for one call more; return its handle, or it if ``lazy``.

    The call is sent, and counted, together with the end of this run; a run that is retried adds
    nothing. Raises ValueError where the run is in no chord.
    """
    request = task.request
    if not request.chord or not request.group:
        raise ValueError(f"{task.name} does not run in a chord, so nothing can be added to it.")
    whole = read_all(signature)
    assign_ids(whole, ids_after(request.id, "added", request.retries, len(request.additions)))
    sig = placed(normal(whole, single=True), {"group_id": request.group, "chord": request.chord})
    family = {"root_id": request.root_id, "parent_id": request.id}
    outgoing: list[Any] = []
    grow = GrowJoin(request.group)
    for step in () if lazy else launches(sig):
        if isinstance(step, OpenJoin):
            raise UsageError(f"{task.name}.add_to_chord takes a task or a chain, not a group.")
        call = prepared(
            task.app, Launch(step.task, step.args, step.kwargs, {**step.options, **family})
        )
        is_eager = request.is_eager
        outgoing.append(EagerRetry(call.message) if is_eager else told_before(task.app, call))
    request.update(additions=(*request.additions, Addition(grow, tuple(outgoing))))
    return Signature.from_dict(sig, app=task.app) if lazy else handle_on(sig, task.app)


def _listed(value: Any) -> list[Any]:
    if not value:
        return []
    return [value] if isinstance(value, Mapping) else list(value)
