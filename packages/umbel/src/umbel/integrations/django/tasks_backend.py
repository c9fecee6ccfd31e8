"""Django's tasks framework (``django.tasks``, or the package ``django-tasks``) on Umbel.

    TASKS = {"default": {"BACKEND": "umbel.integrations.django.tasks_backend.UmbelBackend"}}

Each enqueued task is a message for the task ``umbel.django.run`` of the current app, under the id
that its result has. Queues are Umbel's queues of the same name.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.module_loading import import_string

from umbel.app.app import App
from umbel.app.current import get_current_app
from umbel.app.shared import shared_task
from umbel.app.storing import make_record

if TYPE_CHECKING:  # its types are known where one of the two is installed
    tasks: Any = None
    BaseTaskBackend: Any = object
    ResultDoesNotExist: Any = None
else:
    try:  # Django 6.0
        from django.tasks import base as tasks
        from django.tasks.backends.base import BaseTaskBackend
        from django.tasks.exceptions import TaskResultDoesNotExist as ResultDoesNotExist
    except ImportError:
        from django_tasks import base as tasks
        from django_tasks.backends.base import BaseTaskBackend
        from django_tasks.exceptions import TaskResultDoesNotExist as ResultDoesNotExist

RUN = "umbel.django.run"
"""The name of the task that runs Django's."""
NOTES = "-django"
"""Ends the id under which the result store keeps what the framework wants to know of a task."""
_LEVELS = 9
"""Priorities of the framework, -100 to 100, become 9 (can wait) to 0 (urgent)."""


class UmbelBackend(BaseTaskBackend):
    """Sends tasks by the current app. Thread-safe."""

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    @property
    def supports_get_result(self) -> bool:
        """Whether results can be looked up: where the app has a result backend."""
        return get_current_app().has_result_backend

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send it; return the result to look at. Raises as ``Task.apply_async``."""
        self.validate_task(task)
        app = get_current_app()
        result_id = str(uuid.uuid4())
        notes = {
            "task": task.module_path,
            "args": list(args),
            "kwargs": dict(kwargs),
            "priority": task.priority,
            "queue_name": task.queue_name,
            "enqueued_at": timezone.now().isoformat(),
        }
        if app.has_result_backend:
            _keep(app, result_id, notes)
        options: dict[str, Any] = {"task_id": result_id, "queue": task.queue_name}
        if task.priority:
            options["priority"] = _priority(app, task.priority)
        if task.run_after is not None:
            options["eta"] = task.run_after
        app.tasks[RUN].apply_async((result_id, self.alias, notes), **options)
        return self._result(result_id, notes, {"status": "PENDING", "result": None})

    def get_result(self, result_id: str) -> Any:
        """Return what is known of a task. Raises TaskResultDoesNotExist, OperationalError."""
        app = get_current_app()
        noted = app.AsyncResult(f"{result_id}{NOTES}")
        if noted.state == "PENDING":
            raise ResultDoesNotExist(f"Nothing is known of a task {result_id}.")
        run = app.AsyncResult(result_id)
        meta = {"status": run.state, "result": run.result, "traceback": run.traceback}
        return self._result(result_id, noted.result, {**meta, "date_done": run.date_done})

    def _result(self, result_id: str, notes: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        state = meta["status"]
        over = state in ("SUCCESS", "FAILURE", "REVOKED")
        started = _moment(notes.get("started_at"))
        task = import_string(notes["task"])
        made = tasks.TaskResult(
            task=task.using(queue_name=notes["queue_name"], priority=notes["priority"]),
            id=result_id,
            status=_status(state, started=started is not None),
            enqueued_at=_moment(notes["enqueued_at"]),
            started_at=started,
            finished_at=meta.get("date_done") if over else None,
            last_attempted_at=started,
            args=list(notes["args"]),
            kwargs=dict(notes["kwargs"]),
            backend=self.alias,
            errors=_errors(meta) if over and state != "SUCCESS" else [],
            worker_ids=[notes["worker"]] if notes.get("worker") else [],
        )
        if state == "SUCCESS":
            object.__setattr__(made, "_return_value", meta["result"])
        return made


@shared_task(bind=True, name=RUN)
def run(self: Any, result_id: str, alias: str, notes: dict[str, Any]) -> Any:
    """Run one of Django's tasks; its value, or what it raises, is this task's own."""
    task = import_string(notes["task"])
    if self.app.has_result_backend:
        began = {"started_at": timezone.now().isoformat(), "worker": self.request.hostname}
        notes = {**notes, **began}
        _keep(self.app, result_id, notes)
    if not task.takes_context:
        return task.call(*notes["args"], **notes["kwargs"])
    backend = UmbelBackend(alias, {"QUEUES": []})
    meta = {"status": "STARTED", "result": None}
    context = tasks.TaskContext(task_result=backend._result(result_id, notes, meta))
    return task.call(context, *notes["args"], **notes["kwargs"])


def _keep(app: App, result_id: str, notes: Mapping[str, Any]) -> None:
    record = make_record(app, task_id=f"{result_id}{NOTES}", state="NOTES", result=dict(notes))
    app.result_backend.store([record])


def _priority(app: App, priority: int) -> int:
    level = round((100 - priority) / 200 * _LEVELS)
    turned = app.settings.profile == "celery" and app.broker.capabilities.highest_first
    return _LEVELS - level if turned else level


def _status(state: str, *, started: bool) -> Any:
    statuses = tasks.TaskResultStatus
    if state == "SUCCESS":
        return statuses.SUCCESSFUL
    if state in ("FAILURE", "REVOKED"):
        return statuses.FAILED
    return statuses.RUNNING if started and state != "RETRY" else statuses.READY


def _errors(meta: Mapping[str, Any]) -> list[Any]:
    error = meta["result"]
    cls = type(error)
    path = f"{cls.__module__}.{cls.__qualname__}"
    return [tasks.TaskError(exception_class_path=path, traceback=meta.get("traceback") or "")]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


__all__ = ["ResultDoesNotExist", "UmbelBackend"]
