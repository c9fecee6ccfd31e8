"""From a workflow to messages at the broker.

The base of ``App`` for this alone; ``workflows.canvas`` calls it. A workflow is planned
(``workflows.planning``), joins are opened where results rest, then the messages that begin it are
sent in batches. What follows them is sent by workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from umbel.app import context, sending
from umbel.app.familiar import Familiar
from umbel.app.publish_policy import RetryPolicy
from umbel.app.send_plan import Call
from umbel.app.workflow_calls import counting_backend, planned, prepared
from umbel.model.join import OpenJoin
from umbel.model.message import TaskMessage
from umbel.model.queues import Outgoing
from umbel.workflows.freezing import handle_on
from umbel.workflows.planning import Launch, Sig, launches

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.eager import End

BATCH = 1000
"""Messages in one batch, as ``bulk`` sends them."""


class WorkflowSending(Familiar):
    """Sending and running workflows. Any thread may call it."""

    def send_workflow(
        self, sig: Sig, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Send a workflow, given as the mapping in which it travels; return its handle.

        The mapping gets its ids. Raises as ``apply_async``; what was sent before an error stays
        sent. NoResultBackend for a chord whose header nothing could count.
        """
        app = cast("App", self)
        if app.settings.task_always_eager:
            return self.run_workflow(sig, args, kwargs)
        whole = planned(app, sig)
        expires = app.settings.result_chord_expires
        for batch in _batches(app, launches(whole, args, kwargs, expires=expires)):
            batch.send()
        return _noted(handle_on(whole, self))

    async def asend_workflow(
        self, sig: Sig, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do as ``send_workflow``, without blocking the event loop: on a thread."""
        import asyncio  # noqa: PLC0415 - 20 ms that a program without coroutines need not spend

        return await asyncio.to_thread(self.send_workflow, sig, args, kwargs)

    def run_workflow(
        self, sig: Sig, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a workflow here and now, by the rules of a worker; return its eager handle."""
        from umbel.app import eager_workflows  # noqa: PLC0415 - the runner brings asyncio

        app = cast("App", self)
        return eager_workflows.run(app, planned(app, sig), args, kwargs or {})

    def run_instead(self, end: End) -> End:
        """Run the workflow that takes the place of an eager run; return how that ended."""
        from umbel.app import eager_workflows  # noqa: PLC0415 - as above

        return eager_workflows.run_instead(cast("App", self), end)


class _Batch:
    """Messages that travel together, after the joins that they fill were opened."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._joins: list[OpenJoin] = []
        self._outgoing: list[Outgoing] = []
        self._told: list[tuple[TaskMessage, Outgoing]] = []
        # What goes out together is tried again together, as the first call that cares says.
        self._policy: RetryPolicy | None = None
        self._timeout: float | None = None

    def __len__(self) -> int:
        return len(self._outgoing)

    def add(self, step: Launch | OpenJoin) -> None:
        app = self._app
        if isinstance(step, OpenJoin):
            counting_backend(app)
            self._joins.append(step)
            return
        call = prepared(app, step)
        if app.middleware:
            sending.through(app, call, self._take)
        else:
            self._take(app, call)

    def _take(self, app: App, call: Call) -> None:
        outgoing = sending.told_before(app, call)
        if self._policy is None:
            self._policy = call.policy
        if self._timeout is None:
            self._timeout = call.timeout
        self._outgoing.append(outgoing)
        self._told.append((call.message, outgoing))

    def send(self) -> None:
        if self._joins:
            counting_backend(self._app).join(self._joins)
        if self._outgoing:
            self._app.publishing.publish(self._outgoing, timeout=self._timeout, policy=self._policy)
        for message, outgoing in self._told:
            sending.tell_after(self._app, message, outgoing)


def _batches(app: App, steps: Iterator[Launch | OpenJoin]) -> Iterator[_Batch]:
    batch = _Batch(app)
    for step in steps:
        batch.add(step)
        if len(batch) >= BATCH:
            yield batch
            batch = _Batch(app)
    yield batch


def _noted(handle: Any) -> Any:
    """Note the handle as a child of the running task; return it."""
    running = context.worker_run() if context.current.get() is not None else None
    if running is not None and running.task.trail and handle is not None:
        running.request.children.append(handle)
    return handle
