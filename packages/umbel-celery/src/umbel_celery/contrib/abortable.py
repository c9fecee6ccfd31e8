"""``celery.contrib.abortable``: tasks that look whether somebody wants them to end.

``result.abort()`` stores a state; the task looks at it with ``self.is_aborted()``. Nothing is
interrupted. (``task.cancelled()`` and ``result.revoke()`` do more, and need no polling.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from umbel.app.handles import AsyncResult
from umbel.app.storing import make_record
from umbel.app.task import Task

if TYPE_CHECKING:
    from umbel.app.app import App

ABORTED = "ABORTED"
"""The state of a task that somebody wants to end."""


class AbortableAsyncResult(AsyncResult[Any]):
    """The handle of an abortable task."""

    def is_aborted(self) -> bool:
        """Tell whether the task was asked to end."""
        return self.state == ABORTED

    def abort(self) -> None:
        """Ask the task to end. It does nothing to one that is over."""
        app = cast("App", self.app)
        self.backend.store([make_record(app, task_id=self.id, state=ABORTED, result=None)])


class AbortableTask(Task[..., Any]):
    """A task whose handle can ``abort()`` it, and that can ask ``is_aborted()``."""

    abstract = True

    def AsyncResult(self, task_id: str, **more: Any) -> AbortableAsyncResult:  # noqa: N802 - Celery's
        """Return the handle of a run of this task."""
        more.setdefault("backend", self.own_backend)
        return AbortableAsyncResult(task_id, task_name=self.name, app=self.app, **more)

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Send it; the handle can abort it."""
        kwargs.setdefault("result_cls", AbortableAsyncResult)
        return super().apply_async(*args, **kwargs)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Tell whether this run was asked to end; false where nothing is known of it."""
        task_id = kwargs.get("task_id", self.request.id)
        return bool(task_id) and self.AsyncResult(task_id).is_aborted()


__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]
