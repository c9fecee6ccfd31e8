"""From a call to a message at the broker.

``task`` and ``app`` call it for every message sent one by one, ``bulk`` for many. In this order:
the call is prepared (``send_plan``), then middleware, encoding, signals, publishing, and the handle
for the caller. A plain ``delay`` costs about 7 µs of Python, encoding included
(benchmarks/decisions/delay_cost.py).

Sends messages and nothing else: whether a call is allowed to run eagerly is decided by ``task``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app import context, signals
from umbel.app.handles import AsyncResult
from umbel.app.send_plan import Call, SendPlan
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.model.queues import Outgoing
from umbel.wire.task_v2 import encode

if TYPE_CHECKING:
    from umbel.app.app import App

_NO_OPTIONS: Mapping[str, Any] = {}


# --- sending --------------------------------------------------------------------------------------


def send(
    plan: SendPlan,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    given: Mapping[str, Any] = _NO_OPTIONS,
) -> AsyncResult[Any]:
    """Send one call; return its handle once the broker holds it.

    Raises UsageError for a wrong option, EncodeError, and OperationalError when the broker did not
    take it before the deadline. Any thread may call it.
    """
    call = plan.prepare(args, kwargs, given)
    app = plan.app
    if app.middleware:
        through(app, call, transmit)
    else:
        transmit(app, call)
    return handle(plan, call.message, given)


async def asend(
    plan: SendPlan,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    given: Mapping[str, Any] = _NO_OPTIONS,
) -> AsyncResult[Any]:
    """Do as ``send``, without blocking the event loop.

    Middleware may block, so an app that has any sends from a thread.
    """
    app = plan.app
    if app.middleware:
        import asyncio  # noqa: PLC0415 - 20 ms that a program without coroutines need not spend

        return await asyncio.to_thread(send, plan, args, kwargs, given)
    call = plan.prepare(args, kwargs, given)
    outgoing = told_before(app, call)
    await app.publishing.apublish((outgoing,), timeout=call.timeout, policy=call.policy)
    tell_after(app, call.message, outgoing)
    return handle(plan, call.message, given)


def send_within(
    plan: SendPlan,
    transaction: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    given: Mapping[str, Any] = _NO_OPTIONS,
) -> AsyncResult[Any]:
    """Do as ``send``, in the caller's own transaction: the message is sent when that is committed.

    With ``outbox_url`` a row is written that a relay sends, else the broker takes part itself.
    Raises NotSupported where it cannot, InvalidOption where ``transaction`` is nothing known.
    """
    call = plan.prepare(args, kwargs, given)
    app = plan.app

    def enlist(app: App, call: Call) -> None:
        outgoing = told_before(app, call)
        settings = app.settings
        if settings.outbox_url is not None:
            from umbel.outbox.writing import write  # noqa: PLC0415 - for those who use it

            write(transaction, (outgoing,), table=settings.outbox_table)
        else:
            app.connections.sending_broker.publish_within(transaction, (outgoing,))
        tell_after(app, call.message, outgoing)

    if app.middleware:
        through(app, call, enlist)
    else:
        enlist(app, call)
    return handle(plan, call.message, given)


def transmit(app: App, call: Call) -> None:
    """Encode, tell those who listen, publish."""
    outgoing = told_before(app, call)
    app.publishing.publish((outgoing,), timeout=call.timeout, policy=call.policy)
    tell_after(app, call.message, outgoing)


def through(app: App, call: Call, last: Callable[[App, Call], None]) -> None:
    """Send through the app's middleware, the first added outermost."""

    def send_it(message: TaskMessage) -> None:
        call.message = message
        last(app, call)

    step: Callable[[TaskMessage], None] = send_it
    for layer in reversed(app.middleware):
        step = _layered(layer.around_send, step)
    step(call.message)


def _layered(
    around: Callable[[TaskMessage, Callable[[TaskMessage], None]], None],
    inner: Callable[[TaskMessage], None],
) -> Callable[[TaskMessage], None]:
    return lambda message: around(message, inner)


def handle(
    plan: SendPlan, message: TaskMessage, given: Mapping[str, Any] = _NO_OPTIONS
) -> AsyncResult[Any]:
    """Return the handle of a sent message, and note it as a child of the running task."""
    task = plan.task
    make = given.get("result_cls") or AsyncResult
    backend = task.own_backend if task is not None else None
    result: AsyncResult[Any] = make(message.id, backend, plan.name, plan.app)
    if message.ignore_result:
        result.ignored = True
    if context.current.get() is not None and given.get("add_to_parent", True):
        running = context.worker_run()
        if running is not None and running.task.trail:
            running.request.children.append(result)
    return result


# --- telling --------------------------------------------------------------------------------------


def told_before(app: App, call: Call) -> Outgoing:
    """Return the call encoded, after the receivers of ``before_task_publish`` changed it."""
    outgoing = call.outgoing()
    if not signals.before_task_publish.receivers:
        return outgoing
    message = call.message
    headers = dict(outgoing.message.headers)
    properties = dict(outgoing.message.properties)
    body = (list(message.args), dict(message.kwargs), _embed(message))
    signals.before_task_publish.send(
        sender=message.task,
        body=body,
        exchange=call.queue.exchange,
        routing_key=call.queue.routing_key or call.queue.name,
        headers=headers,
        properties=properties,
        declare=[call.queue],
        retry_policy=dict(app.settings.task_publish_retry_policy),
    )
    # Once more, whether it looks changed or not: a receiver may have reached deep into a value.
    encoded = _with_body(call, body)
    return Outgoing(
        message=EncodedMessage(
            headers=headers,
            properties=properties,
            body=encoded.body,
            content_type=encoded.content_type,
            content_encoding=encoded.content_encoding,
        ),
        queue=call.queue,
        due_at=call.due_at,
    )


def _embed(message: TaskMessage) -> dict[str, Any]:
    return {
        "callbacks": message.callbacks,
        "errbacks": message.errbacks,
        "chain": message.chain,
        "chord": message.chord,
    }


def _with_body(
    call: Call, body: tuple[list[Any], dict[str, Any], dict[str, Any]]
) -> EncodedMessage:
    args, kwargs, embed = body
    changed = TaskMessage(
        id=call.message.id, task=call.message.task, args=args, kwargs=kwargs, **embed
    )
    return encode(changed, serializer=call.serializer, compression=call.compression)


def tell_after(app: App, message: TaskMessage, outgoing: Outgoing) -> None:
    """Tell those who listen that the broker holds this message."""
    if app.settings.task_send_sent_event:
        app.events.tell_sent(message, outgoing)
    if signals.after_task_publish.receivers:
        signals.after_task_publish.send(
            sender=message.task,
            headers=outgoing.message.headers,
            body=(message.args, message.kwargs, _embed(message)),
            exchange=outgoing.queue.exchange,
            routing_key=outgoing.queue.routing_key or outgoing.queue.name,
        )
    if signals.task_sent.receivers:
        signals.task_sent.send(
            sender=message.task,
            task_id=message.id,
            task=message.task,
            args=message.args,
            kwargs=message.kwargs,
            eta=message.eta,
            taskset=message.group_id,
        )
