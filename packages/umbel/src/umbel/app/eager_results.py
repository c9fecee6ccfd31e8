"""EagerResult: the handle on a run that happened right here, in ``apply`` or eager mode.

Made by ``Task.apply``. It is complete from the start: no store, no waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, cast

from umbel.app.handles import raise_error
from umbel.app.joining import assert_will_not_block
from umbel.app.result_trees import ResultBase
from umbel.errors import ResultTimeout, TaskRevokedError
from umbel.model.outcome import PROPAGATE_STATES
from umbel.workflows.binding import R


class EagerResult(ResultBase, Generic[R]):
    """How a run here ended. ``ret_value`` is the value, or the exception of a failed run."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_result",
        "_state",
        "_traceback",
        "id",
        "name",
        "parent",
        "task_name",
    )

    TimeoutError = ResultTimeout
    supports_native_join = False
    ignored = False

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
    ) -> None:
        self.id = id
        self.name = self.task_name = name
        self.parent = None
        self._result = ret_value
        self._state = str(state)
        self._traceback = traceback

    def get(
        self,
        timeout: float | None = None,  # noqa: ARG002 - there is nothing to wait for
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        **_: Any,
    ) -> R:
        """Return the value, or raise what the run raised. Options as ``AsyncResult.get``."""
        if disable_sync_subtasks:
            assert_will_not_block()
        if propagate and self._state in PROPAGATE_STATES:
            raise_error(self._result)
        return cast("R", self._result)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> R:
        """Do as ``get``; ``await result`` is this."""
        return self.get(timeout, propagate, disable_sync_subtasks=False)

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def maybe_throw(
        self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None
    ) -> Any:
        """Raise what the run raised, or return its value."""
        value = self.get(propagate=propagate, disable_sync_subtasks=False)
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def throw(self, error: BaseException | None = None, tb: Any = None) -> None:  # noqa: ARG002
        """Raise this error, or the run's own."""
        raise_error(error if error is not None else self._result)

    def then(
        self,
        callback: Callable[[EagerResult[R]], object],
        on_error: Callable[[Exception], object] | None = None,  # noqa: ARG002 - nothing can fail
        weak: bool = False,  # noqa: ARG002
    ) -> EagerResult[R]:
        """Call ``callback`` with this handle, at once."""
        callback(self)
        return self

    @property
    def on_ready(self) -> EagerResult[R]:
        """What ``then`` can be called on; here the handle itself."""
        return self

    def ready(self) -> bool:
        """Return True: it ran before this handle was made."""
        return True

    def exists(self) -> bool:
        """Return True: what it holds is all there is."""
        return True

    def successful(self) -> bool:
        """Tell whether the run returned."""
        return self._state == "SUCCESS"

    def failed(self) -> bool:
        """Tell whether the run raised."""
        return self._state == "FAILURE"

    def forget(self) -> None:
        """Do nothing: nothing is stored."""

    def revoke(self, *_: Any, **__: Any) -> None:
        """Make it a revoked run, whose value is a TaskRevokedError: it cannot be undone."""
        self._state = "REVOKED"
        self._result = TaskRevokedError("revoked")

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    @property
    def state(self) -> str:
        """How the run ended."""
        return self._state

    status = state

    @property
    def result(self) -> Any:
        """The value, or the exception."""
        return self._result

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback as text."""
        return self._traceback

    @property
    def children(self) -> list[Any]:
        """Nothing is recorded of what an eager run sent."""
        return []

    def as_tuple(self) -> tuple[tuple[str, None], None]:
        """Return the form in which a handle travels; its reader finds nothing stored."""
        return (self.id, None), None

    def __str__(self) -> str:
        return self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultBase):
            return bool(self.id == getattr(other, "id", None))
        return self.id == other if isinstance(other, str) else NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, self._result, self._state, self._traceback, self.name)
