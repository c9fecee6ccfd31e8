"""Result records of one app: which are stored, and their documents.

Used in executors for what a run brought, and in the supervisor's plan-only twin
(``worker.endings``) for what ended without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app.result_trees import ResultBase, as_tuple_or_none
from umbel.model.message import TaskMessage
from umbel.model.outcome import READY_STATES, ResultRecord, Retried
from umbel.wire import result_meta
from umbel.wire.envelope import Peek
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.context import Context
    from umbel.app.task import Task


class Recorder:
    """Makes the records of one app's runs. Thread-safe."""

    def __init__(self, app: App, *, node: str, pid: int) -> None:
        settings = app.settings
        self._enabled = settings.result_backend is not None
        self._replies = str(settings.result_backend).startswith("rpc")
        self._serializer = SERIALIZERS.get(settings.result_serializer)
        self._expires = settings.result_expires
        self._failure_expires = settings.result_failure_expires
        self._compression = settings.result_compression
        self._extended = settings.result_extended
        self._timezone = app.timezone
        self._node = node
        self._whereabouts = {"pid": pid, "hostname": node}

    def started(self, task: Task[..., Any], message: TaskMessage) -> ResultRecord | None:
        """The STARTED record, where the task is tracked and its result is kept."""
        if not task.track_started or not self._enabled or _ignored(task, message):
            return None
        return self._record(message, "STARTED", self._whereabouts, None, ())

    def succeeded(
        self, task: Task[..., Any], message: TaskMessage, request: Context, value: Any
    ) -> Sequence[ResultRecord]:
        if not self._enabled or _ignored(task, message):
            return ()
        children = _children(request)
        if isinstance(value, ResultBase):
            value = as_tuple_or_none(value)  # as Celery stores a handle
        return (self._record(message, "SUCCESS", value, None, children, queue=request.queue),)

    def retried(
        self, task: Task[..., Any], message: TaskMessage, request: Context, outcome: Retried
    ) -> Sequence[ResultRecord]:
        """The RETRY record. The message of the next run counts as sent by this one."""
        if not self._enabled or _ignored(task, message):
            return ()
        children = _children(request)
        if task.trail:
            children.append(((message.id, None), None))
        error, text = outcome.error, outcome.traceback
        return (self._record(message, "RETRY", error, text, children, queue=request.queue),)

    def never_begun(
        self, task_id: str, state: str, error: BaseException, traceback: str | None
    ) -> Sequence[ResultRecord]:
        """The end of a run that will never begin, in the state of the one before it."""
        return (self._bare(task_id, error, traceback, state=state),) if self._enabled else ()

    def failed(
        self,
        task: Task[..., Any],
        message: TaskMessage,
        request: Context,
        error: BaseException,
        traceback: str | None,
    ) -> Sequence[ResultRecord]:
        """The FAILURE record."""
        if not self._enabled:
            return ()
        if _ignored(task, message) and not task.store_errors_even_if_ignored:
            return ()
        children = _children(request)
        return (self._record(message, "FAILURE", error, traceback, children, queue=request.queue),)

    def failed_plainly(
        self,
        task: Task[..., Any],
        message: TaskMessage,
        error: BaseException,
        traceback: str | None,
    ) -> Sequence[ResultRecord]:
        """The FAILURE record with nothing in it but the failure."""
        if not self._enabled:
            return ()
        if _ignored(task, message) and not task.store_errors_even_if_ignored:
            return ()
        return (self._bare(message.id, error, traceback, message.reply_to),)

    def undecodable(self, peek: Peek, error: BaseException) -> tuple[ResultRecord, ...]:
        """A FAILURE for who waits for a message that nobody can run."""
        if not self._enabled or peek.ignore_result:
            return ()
        return (self._bare(peek.id, error, None, peek.reply_to),)

    def addressed(
        self, records: Sequence[ResultRecord], message: TaskMessage
    ) -> Sequence[ResultRecord]:
        """Return the records of what follows a run, to be sent to who waits for that run."""
        if not self._replies or not message.reply_to:
            return records
        return [
            msgspec.structs.replace(each, reply_to=each.reply_to or message.reply_to)
            for each in records
        ]

    def _bare(
        self,
        task_id: str,
        error: BaseException,
        traceback: str | None,
        reply_to: str | None = None,
        state: str = "FAILURE",
    ) -> ResultRecord:
        message = TaskMessage(id=task_id, task="", reply_to=reply_to)
        return self._record(message, state, error, traceback, (), extended=False)

    def _record(
        self,
        message: TaskMessage,
        state: str,
        result: Any,
        traceback: str | None,
        children: Sequence[Any],
        *,
        extended: bool = True,
        queue: str = "",
    ) -> ResultRecord:
        final = state in READY_STATES
        expires = self._expires
        if state == "FAILURE" and self._failure_expires is not None:
            expires = self._failure_expires
        document = result_meta.encode(
            task_id=message.id,
            status=state,
            result=result,
            traceback=traceback,
            children=children,
            date_done=datetime.now(UTC) if final else None,
            group_id=message.group_id,
            parent_id=message.parent_id,
            extended=self._more(message, queue) if extended and self._extended else None,
            serializer=self._serializer,
            timezone=self._timezone,
            compression=self._compression,
        )
        return ResultRecord(
            task_id=message.id,
            state=state,
            document=document,
            final=final,
            expires=expires,
            reply_to=message.reply_to if self._replies else None,
        )

    def _more(self, message: TaskMessage, queue: str) -> Mapping[str, Any]:
        fields: dict[str, Any] = {
            "name": message.task,
            "args": message.args,
            "kwargs": message.kwargs,
            "worker": self._node,
            "retries": message.retries,
            "queue": queue,
        }
        if message.stamped_headers:
            fields["stamped_headers"] = list(message.stamped_headers)
            fields.update(message.stamps)
        return fields


def _ignored(task: Task[..., Any], message: TaskMessage) -> bool:
    ignored = message.ignore_result
    return bool(task.ignore_result if ignored is None else ignored)


def _children(request: Context) -> list[Any]:
    # Where nobody asked for the list there are none, and asking would make it.
    children = vars(request).get("children")
    return [child.as_tuple() for child in children] if children else []
