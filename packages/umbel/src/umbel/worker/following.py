"""What is sent because a task ended: callbacks, the next step of its chain, error callbacks.

Called by ``execution``. The messages are encoded here and sent by the supervisor with the
settlement, in one step, so that a chain never loses its next step.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.handles import AsyncResult
from umbel.app.send_plan import SendPlan, new_id
from umbel.app.sending import told_before
from umbel.errors import UsageError

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.context import Context
    from umbel.app.task import Task
    from umbel.model.queues import Outgoing

logger = logging.getLogger("umbel.worker.task")


def after_success(
    app: App, task: Task[..., Any], request: Context, value: Any
) -> tuple[Outgoing, ...]:
    """Return the callbacks and the next chain step, called with the task's value.

    Raises UsageError for a step of a kind that cannot be run here; the task then fails with it.
    """
    message = request.message
    if message is None or not (message.callbacks or message.chain):
        return ()
    sent: list[Outgoing] = []
    callbacks = message.callbacks or ()
    # Celery's documented behaviour: several callbacks are sent as one new group.
    group = {"group_id": new_id()} if len(callbacks) > 1 else {}
    for index, callback in enumerate(callbacks):
        place = {**group, "group_index": index} if group else {}
        sent.append(_call(app, task, request, callback, (value,), place))
    if message.chain:
        *rest, step = message.chain
        more: dict[str, Any] = {"chain": rest} if rest else {}
        sent.append(_call(app, task, request, step, (value,), more))
    return tuple(sent)


def after_failure(
    app: App,
    task: Task[..., Any],
    request: Context,
    error: BaseException,
    traceback: str | None,
) -> tuple[Outgoing, ...]:
    """Return the error callbacks to send; those that want the exception are called right here.

    Celery's documented rule: an unbound errback registered here that takes more than one argument
    is called with (request, exception, traceback); any other is sent with the failed task's id.

    Never raises: an error callback that cannot be sent is logged, and the failure stays what it is.
    """
    message = request.message
    if message is None or not message.errbacks:
        return ()
    sent: list[Outgoing] = []
    for errback in message.errbacks:
        try:
            local = app.tasks.get(errback["task"])
            if local is not None and _wants_error(local, errback):
                _tell(local, errback, request, error, traceback)
            else:
                sent.append(_call(app, task, request, errback, (message.id,), {}))
        except Exception:  # of whatever shape somebody sent; the failure must be told all the same
            logger.exception(
                "Task %s[%s] failed, and an error callback of it cannot be sent",
                task.name,
                request.id,
            )
    return tuple(sent)


def _wants_error(errback: Task[..., Any], signature: Mapping[str, Any]) -> bool:
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
    try:
        errback(
            request,
            error,
            traceback,
            *(signature.get("args") or ()),
            **(signature.get("kwargs") or {}),
        )
    except Exception:
        logger.exception("The errback %s of task %s raised", errback.name, request.id)


def _call(
    app: App,
    task: Task[..., Any],
    request: Context,
    signature: Mapping[str, Any],
    args: Sequence[Any],
    more: Mapping[str, Any],
) -> Outgoing:
    name = signature["task"]
    if signature.get("subtask_type"):
        raise UsageError(
            f"Task {task.name}[{request.id}] is followed by a {signature['subtask_type']}, and"
            " this version runs only plain tasks as callbacks and chain steps."
        )
    options = {**(signature.get("options") or {}), **more}
    options["parent_id"] = request.id
    options["root_id"] = request.root_id
    own = signature.get("args") or ()
    called_with = tuple(own) if signature.get("immutable") else (*args, *own)
    plan = SendPlan(app, name, app.tasks.get(name))
    call = plan.prepare(called_with, signature.get("kwargs") or {}, options)
    if task.trail:
        request.children.append(AsyncResult(call.message.id, app=app))
    return told_before(app, call)
