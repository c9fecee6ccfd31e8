"""One run of one task, from its request to its outcome.

The worker's executors and ``Task.apply`` both run tasks through here, so that eager and real runs
differ in nothing but where the effects go. Nothing here talks to a broker or a result store.

The steps, in order: request pushed · ``task_prerun`` · ``before_start`` · the body · verdict on the
exception, if any (retry, ignore, reject, failure; automatic retries) · ``on_success`` or its
sisters and their signals · ``after_return`` · ``task_postrun`` · request popped.

Differs from Celery, on purpose: the handlers run before the result is stored, because storing is
one atomic step with the acknowledgement and belongs to the supervisor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any

from umbel.app import context, signals
from umbel.errors import Ignore, Reject, Retry, TaskInterrupted
from umbel.model.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    Retried,
    Succeeded,
)
from umbel.model.retrying import Backoff

if TYPE_CHECKING:
    from umbel.app.context import Context
    from umbel.app.task import Task
    from umbel.model.message import TaskMessage

logger = logging.getLogger("umbel.task")

_HOUSE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
"""The folder of this package. Frames in it say nothing about the task."""


class ErrorInfo:
    """An exception as handlers receive it (``einfo``): type, exception and traceback text."""

    __slots__ = ("exception", "tb", "traceback", "type")

    def __init__(self, error: BaseException) -> None:
        self.type = type(error)
        self.exception = error
        self.tb = error.__traceback__
        self.traceback = traceback_text(error)

    def __str__(self) -> str:
        return self.traceback


def run_task(task: Task[..., Any], message: TaskMessage, request: Context) -> Outcome:
    """Run a task once on this thread and return how it ended.

    A coroutine task runs to its end on this thread's own event loop. Raises only what must not be
    caught: ``SystemExit``, ``KeyboardInterrupt`` and their like, which end the executor.
    """
    context.push(task, request)
    try:
        middleware = task.app.middleware
        if not middleware:
            return _run(task, request)
        call: Callable[[], Outcome] = lambda: _run(task, request)  # noqa: E731 - the innermost call
        for layer in reversed(middleware):
            call = _wrapped(layer.around_run, message, call)
        return call()
    except Exception as error:  # noqa: BLE001 - a middleware's failure is the run's failure
        return Failed(error, traceback_text(error))
    finally:
        context.pop()


async def run_task_async(task: Task[..., Any], message: TaskMessage, request: Context) -> Outcome:
    """Run a coroutine task on the running event loop; otherwise as ``run_task``.

    Middleware is synchronous and would have to wait for the loop it runs on, so a task whose app
    has any runs on a thread of its own.
    """
    if task.app.middleware:
        return await asyncio.to_thread(run_task, task, message, request)
    context.push(task, request)
    try:
        outcome: Outcome
        try:
            _before(task, request)
            value = _call(task, request)
            if isinstance(value, CoroutineType):
                value = await _Interruptible(value)
            outcome = Succeeded(value)
        except BaseException as error:  # noqa: BLE001 - judged one by one
            outcome = _judge(task, request, error)
        _after(task, request, outcome)
        return outcome
    finally:
        context.pop()


class _Interruptible:
    """Awaits a coroutine; a cancellation that names a TaskInterrupted raises that one in it.

    asyncio can only throw CancelledError. The executor cancels with, say, a SoftTimeLimitExceeded
    as the message, and here, where the coroutine is driven, the one becomes the other: the task
    catches the same exception in every pool.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        try:
            waited_for = coroutine.send(None)
            while True:
                try:
                    value = yield waited_for
                except asyncio.CancelledError as cancelled:
                    limit = cancelled.args[0] if cancelled.args else None
                    if isinstance(limit, TaskInterrupted):
                        running = asyncio.current_task()
                        if running is not None:
                            running.uncancel()  # it is not cancelled: it may go on
                    else:
                        limit = cancelled
                    waited_for = coroutine.throw(limit)
                except BaseException as error:  # noqa: BLE001 - what was awaited raised: pass it on
                    waited_for = coroutine.throw(error)
                else:
                    waited_for = coroutine.send(value)
        except StopIteration as end:
            return end.value
        finally:
            coroutine.close()


def _wrapped(
    layer: Callable[[TaskMessage, Callable[[], Outcome]], Outcome],
    message: TaskMessage,
    inner: Callable[[], Outcome],
) -> Callable[[], Outcome]:
    return lambda: layer(message, inner)


def _run(task: Task[..., Any], request: Context) -> Outcome:
    outcome: Outcome
    try:
        _before(task, request)
        value = _call(task, request)
        if isinstance(value, CoroutineType):
            value = run_coroutine(value)
        outcome = Succeeded(value)
    except BaseException as error:  # noqa: BLE001 - judged one by one
        outcome = _judge(task, request, error)
    _after(task, request, outcome)
    return outcome


def _before(task: Task[..., Any], request: Context) -> None:
    if signals.task_prerun.receivers:
        signals.task_prerun.send(
            sender=task, task_id=request.id, task=task, args=request.args, kwargs=request.kwargs
        )
    if task.has_before_start:
        task.before_start(request.id, request.args, request.kwargs)


def _call(task: Task[..., Any], request: Context) -> Any:
    body = task if task.has_own_call else task.run
    return body(*request.args, **request.kwargs)


# --- what an exception means ----------------------------------------------------------------------


def _judge(task: Task[..., Any], request: Context, error: BaseException) -> Outcome:
    match error:
        case Retry():
            return _retried(error)
        case Ignore():
            return Ignored(getattr(error, "outgoing", None))
        case Reject():
            return Rejected(error, traceback_text(error), bool(error.requeue))
        case asyncio.CancelledError():
            return Failed(error, traceback_text(error))
        case Exception():
            return _failed_or_retried(task, request, error)
        case _:
            raise error


def _retried(error: Retry) -> Outcome:
    outgoing = getattr(error, "outgoing", None)
    return Retried(
        error=error.exc,
        traceback=traceback_text(error),
        again_at=outgoing.due_at if outgoing is not None else None,
        message=outgoing,
        why=str(error),
    )


def _failed_or_retried(task: Task[..., Any], request: Context, error: Exception) -> Outcome:
    if not _retries_by_itself(task, error):
        return Failed(error, traceback_text(error))
    try:
        # ``retry`` raises Retry while there are tries left and ``error`` itself when there are not.
        task.retry(exc=error, **_retry_options(task, request))
    except Retry as retry:
        return _retried(retry)
    except Exception as last:  # noqa: BLE001 - whatever retry decided is the task's failure
        return Failed(last, traceback_text(last))
    return Failed(error, traceback_text(error))


def _retries_by_itself(task: Task[..., Any], error: Exception) -> bool:
    return (
        bool(task.autoretry_for)
        and isinstance(error, tuple(task.autoretry_for))
        and not isinstance(error, tuple(task.dont_autoretry_for or ()))
    )


def _retry_options(task: Task[..., Any], request: Context) -> dict[str, Any]:
    options = dict(task.retry_kwargs or {})
    if task.retry_backoff:
        backoff = Backoff(
            factor=float(task.retry_backoff),
            maximum=float(task.retry_backoff_max),
            jitter=bool(task.retry_jitter),
        )
        options["countdown"] = backoff.delay(request.retries, random.random)
    return options


# --- who is told ----------------------------------------------------------------------------------


def _after(task: Task[..., Any], request: Context, outcome: Outcome) -> None:
    match outcome:
        case Succeeded(value=value):
            state: str = "SUCCESS"
            returned: Any = value
            _tell_success(task, request, value)
        case Failed(error=error) | Rejected(error=error, requeue=False):
            state = "FAILURE"
            returned = error
            _tell_failure(task, request, error)
        case Retried():
            state = "RETRY"
            returned = outcome.error
            _tell_retry(task, request, outcome)
        case Ignored():
            state, returned = "IGNORED", None
        case Rejected():
            state, returned = "REJECTED", outcome.error
            if signals.task_rejected.receivers:
                signals.task_rejected.send(sender=task, message=request, exc=outcome.error)
    if state in ("SUCCESS", "FAILURE") and task.has_after_return:
        einfo = ErrorInfo(returned) if state == "FAILURE" else None
        _told(
            task,
            task.after_return,
            state,
            returned,
            request.id,
            request.args,
            request.kwargs,
            einfo,
        )
    if signals.task_postrun.receivers:
        signals.task_postrun.send(
            sender=task,
            task_id=request.id,
            task=task,
            args=request.args,
            kwargs=request.kwargs,
            retval=returned,
            state=state,
        )


def _tell_end(task: Task[..., Any], request: Context, state: str, returned: Any) -> None:
    einfo = ErrorInfo(returned) if state == "FAILURE" else None
    handler = task.after_return
    _told(task, handler, state, returned, request.id, request.args, request.kwargs, einfo)


def _tell_success(task: Task[..., Any], request: Context, value: Any) -> None:
    if task.has_on_success:
        _told(task, task.on_success, value, request.id, request.args, request.kwargs)
    if signals.task_success.receivers:
        signals.task_success.send(sender=task, result=value)


def _tell_failure(task: Task[..., Any], request: Context, error: BaseException) -> None:
    einfo: ErrorInfo | None = None
    if task.has_on_failure:
        einfo = ErrorInfo(error)
        _told(task, task.on_failure, error, request.id, request.args, request.kwargs, einfo)
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=task,
            task_id=request.id,
            exception=error,
            args=request.args,
            kwargs=request.kwargs,
            traceback=error.__traceback__,
            einfo=einfo or ErrorInfo(error),
        )


def _tell_retry(task: Task[..., Any], request: Context, outcome: Retried) -> None:
    reason = outcome.error
    einfo = ErrorInfo(reason) if reason is not None else None
    if task.has_on_retry:
        _told(task, task.on_retry, reason, request.id, request.args, request.kwargs, einfo)
    if signals.task_retry.receivers:
        signals.task_retry.send(sender=task, request=request, reason=reason, einfo=einfo)


def _told(task: Task[..., Any], handler: Callable[..., Any], *args: Any) -> None:
    """Call a handler; its failure is logged and changes nothing about the task's outcome."""
    try:
        handler(*args)
    except Exception:
        logger.exception("Task %s: its handler %s raised", task.name, handler.__name__)


# --- coroutines from plain code -------------------------------------------------------------------


class _Kept:
    """A loop that is closed when the thread that owns it ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        self.loop.close()


class _ThreadLoop(threading.local):
    kept: _Kept | None = None


_own = _ThreadLoop()
_in_loops: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = {}
"""By thread: the loop that it is in, and what it runs there."""


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end from plain code and return its value.

    Uses one event loop a thread, kept for the next run, so that clients bound to a loop survive
    from task to task. Where a loop already runs on this thread (an eager call inside a coroutine)
    the coroutine gets a thread of its own, with a copy of the current context.
    """
    if asyncio._get_running_loop() is not None:  # the public call raises where there is none
        return _run_beside(coroutine)
    kept = _own.kept
    if kept is None or kept.loop.is_closed():
        kept = _own.kept = _Kept()
    loop = kept.loop
    task = loop.create_task(_interruptible(coroutine))
    ident = threading.get_ident()
    _in_loops[ident] = (loop, task)
    try:
        return loop.run_until_complete(task)
    except BaseException as error:
        if task.done():
            raise
        # Raised by a signal handler while the loop waited: it belongs to the coroutine, which must
        # not be left behind for the next run to go on with.
        task.cancel(error)
        if isinstance(error, TaskInterrupted):
            return loop.run_until_complete(task)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        raise
    finally:
        del _in_loops[ident]


def interrupt_coroutine(thread: int, error: TaskInterrupted) -> bool:
    """Raise this in the coroutine that ``run_coroutine`` runs there; False if there is none.

    For other threads: what is raised in a thread that waits in its loop does not wake it.
    """
    found = _in_loops.get(thread)
    if found is None:
        return False
    loop, task = found
    loop.call_soon_threadsafe(task.cancel, error)  # nothing, where it has ended meanwhile
    return True


async def _interruptible(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await _Interruptible(coroutine)


def _run_beside(coroutine: Coroutine[Any, Any, Any]) -> Any:
    answer: list[Any] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            answer.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - carried to the calling thread
            failure.append(error)

    thread = threading.Thread(target=copy_context().run, args=(body,), name="umbel-eager-coroutine")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return answer[0]


# --- tracebacks -----------------------------------------------------------------------------------


def traceback_text(error: BaseException) -> str:
    """Return the traceback as text, beginning with the user's own first frame.

    An error that no frame of the user's had a part in is shown whole.
    """
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _is_ours(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(_HOUSE)
