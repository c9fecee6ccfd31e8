"""Running a workflow here and now, by the rules of a worker.

What begins and what follows is decided where it is for workers (``workflows.planning`` and
``workflows.advancing``), and each run is ``eager``'s; instead of a broker there is a queue of
messages in this function, instead of a store the ends of the members of a header. Called by
``workflow_sending``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app import eager
from umbel.app.context import Context
from umbel.app.eager_results import EagerResult
from umbel.app.workflow_calls import prepared
from umbel.errors import ChordError
from umbel.model.join import OpenJoin
from umbel.model.message import TaskMessage
from umbel.model.outcome import Failed, Succeeded
from umbel.workflows.advancing import (
    Errback,
    NeverBegun,
    Part,
    Slot,
    body_workflow,
    callbacks_of,
    errbacks_of,
    errbacks_of_body,
    header_values,
    never_begun,
    next_step,
    slot_of,
)
from umbel.workflows.freezing import handle_on
from umbel.workflows.planning import Launch, Sig, launches

if TYPE_CHECKING:
    from umbel.app.app import App

_DELAYS = frozenset({"countdown", "eta", "expires"})
"""Options that mean nothing where everything runs at once."""


class _Header:
    def __init__(self) -> None:
        self.size: int | None = None
        self.parts: dict[tuple[str, int | None], Part] = {}


def run(app: App, whole: Sig, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
    """Run a workflow in normal form; return the eager handle on it.

    Raises what a run of it raised where ``task_eager_propagates`` is on.
    """
    work = _Work(app)
    work.begin(launches(whole, args, kwargs))
    work.run()
    return handle_on(whole, work)


def run_instead(app: App, end: eager.End) -> eager.End:
    """Run the workflow that takes the place of a single eager run; return how that ended."""
    work = _Work(app)
    work.begin(end.instead)
    work.run()
    end.result = work.AsyncResult(end.message.id)
    value = end.result.result
    if end.result.state == "SUCCESS":
        end.outcome = Succeeded(value)
    elif isinstance(value, BaseException):
        end.outcome = Failed(value, end.result.traceback)
    # Its callbacks went with what took its place.
    end.message = msgspec.structs.replace(end.message, callbacks=None, errbacks=None)
    return end


class _Work:
    """One workflow on its way. Also makes its handles."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: deque[TaskMessage] = deque()
        self._headers: dict[str, _Header] = {}
        self._ended: dict[str, EagerResult[Any]] = {}

    # --- handles ----------------------------------------------------------------------------------

    def AsyncResult(self, id: str, **more: Any) -> EagerResult[Any]:  # noqa: A002, N802
        found = self._ended.get(id) or EagerResult(id, None, "PENDING")
        found.parent = more.get("parent")
        return found

    def GroupResult(self, id: str, results: Any, **more: Any) -> Any:  # noqa: A002, N802
        return self._app.GroupResult(id, results, **more)

    # --- running ----------------------------------------------------------------------------------

    def begin(self, steps: Iterable[Launch | OpenJoin], parent: TaskMessage | None = None) -> None:
        for step in steps:
            if isinstance(step, OpenJoin):
                self._header(step.join_id).size = step.size
                continue
            options = {k: v for k, v in step.options.items() if k not in _DELAYS}
            if parent is not None:
                options.update(parent_id=parent.id, root_id=parent.root_id)
            call = prepared(self._app, Launch(step.task, step.args, step.kwargs, options))
            self._waiting.append(call.message)

    def run(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            task = self._app.tasks[message.task]
            args, kwargs = eager.through_serializer(task, message.args, message.kwargs, None)
            end = eager.run_to_end(task, eager.with_arguments(message, args, kwargs))
            self._ended[message.id] = end.result
            self._after(end)

    def _after(self, end: eager.End) -> None:
        message, result = end.message, end.result
        for addition in end.request.additions:
            header = self._header(addition.grow.join_id)
            header.size = (header.size or 0) + addition.grow.by
            self._waiting.extend(one.message for one in addition.outgoing)
        if end.instead is not None:
            self.begin(end.instead)
            return
        if result.state == "SUCCESS":
            for callback in callbacks_of(message):
                self.begin(launches(callback, (result.result,)), message)
            step = next_step(message)
            if step is not None:
                self.begin(launches(step, (result.result,)), message)
            self._fill(slot_of(message), "SUCCESS", result.result, message)
            return
        error = eager.failure_of(end)
        self._fill(slot_of(message), "FAILURE", error, message)
        self._leave_out(never_begun(message.chain), error, result.traceback, message)
        if result.state == "FAILURE":
            self._call_back(errbacks_of(message), end.request, error)
            if self._app.settings.task_eager_propagates:
                result.get(disable_sync_subtasks=False)

    def _header(self, join_id: str) -> _Header:
        return self._headers.setdefault(join_id, _Header())

    def _fill(self, slot: Slot | None, state: str, value: Any, message: TaskMessage) -> None:
        if slot is None:
            return
        header = self._header(slot.join_id)
        header.parts.setdefault((slot.task_id, slot.index), Part(slot.task_id, state, value))
        if header.size is None or len(header.parts) < header.size:
            return
        del self._headers[slot.join_id]
        last = float("inf")
        order = sorted(header.parts, key=lambda key: last if key[1] is None else key[1])
        try:
            values = header_values([header.parts[key] for key in order])
        except ChordError as error:
            self._leave_out(never_begun([slot.body]), error, None, message)
            for errback in errbacks_of_body(slot.body):
                about = Context(id=errback.failed_id, root_id=message.root_id, group=slot.join_id)
                self._call_back([errback], about, error)
        else:
            self.begin(launches(body_workflow(slot.body, slot.join_id), (values,)), message)

    def _leave_out(
        self,
        left: Iterable[NeverBegun],
        error: BaseException,
        traceback: str | None,
        message: TaskMessage,
    ) -> None:
        for one in left:
            self._ended[one.task_id] = EagerResult(one.task_id, error, "FAILURE", traceback)
            self._fill(one.slot, "FAILURE", error, message)

    def _call_back(
        self,
        errbacks: Iterable[Errback],
        request: Context,
        error: BaseException,
    ) -> None:
        for errback in errbacks:
            if not eager.called_here(self._app, errback.signature, request, error):
                self._app.send_signature(errback.signature, (errback.failed_id,))
