"""Result records that the app itself writes: custom states and eager results.

Called by ``Task.update_state`` and ``eager``. What a worker's runs bring is recorded by the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from umbel.app.context import Context
from umbel.app.result_trees import ResultBase, as_tuple_or_none
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.wire import result_meta
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App


def make_record(
    app: App,
    *,
    task_id: str,
    state: str,
    result: Any,
    traceback: str | None = None,
    request: Context | None = None,
) -> ResultRecord:
    """Return the record of a state; ``request`` is the run it is about, where there is one.

    Raises EncodeError when the result cannot be written.
    """
    settings = app.settings
    final = state in READY_STATES
    document = result_meta.encode(
        task_id=task_id,
        status=state,
        result=as_tuple_or_none(result) if isinstance(result, ResultBase) else result,
        traceback=traceback,
        children=None if request is None else [child.as_tuple() for child in request.children],
        date_done=datetime.now(UTC) if final else None,
        group_id=None if request is None else request.group,
        parent_id=None if request is None else request.parent_id,
        extended=_more(request) if request is not None and settings.result_extended else None,
        serializer=SERIALIZERS.get(settings.result_serializer),
        timezone=app.timezone,
        compression=settings.result_compression,
    )
    expires = settings.result_expires
    if state == "FAILURE" and settings.result_failure_expires is not None:
        expires = settings.result_failure_expires
    return ResultRecord(
        task_id=task_id,
        state=state,
        document=document,
        final=final,
        expires=expires,
        reply_to=None if request is None else request.reply_to,
    )


def _more(request: Context) -> Mapping[str, Any]:
    info = request.delivery_info or {}
    fields: dict[str, Any] = {
        "name": request.task,
        "args": request.args,
        "kwargs": request.kwargs,
        "worker": request.hostname,
        "retries": request.retries,
        "queue": request.queue or info.get("routing_key"),
    }
    if request.stamped_headers:
        fields["stamped_headers"] = list(request.stamped_headers)
        fields.update(request.stamps or {})
    return fields
