"""The seam by which instrumentation written for Celery stands around every run.

Such packages replace ``celery.app.trace.build_tracer`` by a function of their own that wraps what
the one before it returns. The alias package tells of the replacement here, and ``running`` then
runs tasks through it. What is new should use ``ports.Middleware``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from umbel.errors import UsageError

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.context import Context
    from umbel.app.task import Task
    from umbel.model.message import TaskMessage
    from umbel.model.outcome import Outcome

Tracer: TypeAlias = Callable[..., Any]
"""Called with id, args, kwargs and request; runs the task, and returns what the plain one did."""
Builder: TypeAlias = Callable[..., Tracer]
"""Called with the task's name and the task; returns its tracer."""


class _Seam:
    """One for the process. Replaced while programs start, read by every run."""

    builder: Builder | None = None


seam = _Seam()
"""Read by ``running`` itself: a call of a function here would cost every run."""


class _Inner:
    """The run that a tracer is around, and how it ended."""

    def __init__(self, call: Callable[[], Outcome]) -> None:
        self._call = call
        self.outcome: Outcome | None = None

    def run(self) -> Outcome:
        self.outcome = self._call()
        return self.outcome


_inner: ContextVar[_Inner | None] = ContextVar("umbel.traced", default=None)


def use(builder: Builder | None) -> None:
    """Have every run go through the tracers that this makes; None: through none."""
    seam.builder = builder


def wraps_runs(app: App) -> bool:
    """Tell whether anything stands around the runs of this app: middleware or tracers.

    Both are synchronous, so coroutine tasks run on a thread of their own then.
    """
    return bool(app.middleware) or seam.builder is not None


def traced(
    task: Task[..., Any], message: TaskMessage, request: Context, call: Callable[[], Outcome]
) -> Callable[[], Outcome]:
    """Return ``call`` with the tracer of this task around it, where there are tracers."""
    builder = seam.builder
    if builder is None:
        return call

    def run() -> Outcome:
        known = task.__dict__.get("_tracer")
        if known is None or known[0] is not builder:
            known = task.__dict__["_tracer"] = (builder, builder(task.name, task, app=task.app))
        inner = _Inner(call)
        token = _inner.set(inner)
        try:
            known[1](message.id, message.args, message.kwargs, request)
        finally:
            _inner.reset(token)
        if inner.outcome is None:
            raise UsageError(
                f"Task {task.name}[{message.id}] was not run: what replaced build_tracer of"
                " celery.app.trace returned without calling the tracer that it wraps."
            )
        return inner.outcome

    return run


def plain_tracer(task: Task[..., Any]) -> Tracer:
    """Return the innermost tracer: it runs the task that is to be run here."""

    def trace_task(
        uuid: str,
        args: Sequence[Any],  # noqa: ARG001 - Celery's signature; the run has them
        kwargs: Mapping[str, Any],  # noqa: ARG001 - as above
        request: Any = None,  # noqa: ARG001 - as above
    ) -> Any:
        inner = _inner.get()
        if inner is None:
            raise UsageError(
                f"The tracer of task {task.name}[{uuid}] was called outside a run: call"
                " task.apply() to run a task here."
            )
        start = time.perf_counter()
        outcome = inner.run()
        return getattr(outcome, "value", None), None, time.perf_counter() - start, None

    return trace_task
