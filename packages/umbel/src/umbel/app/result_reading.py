"""What a stored record means to those who hold a handle.

Called by ``handles`` and ``result_sets``. Reads and decodes; waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from umbel.errors import ResultTimeout, TaskError
from umbel.model.outcome import EXCEPTION_STATES, ResultRecord
from umbel.ports import Broker, ResultBackend
from umbel.wire import result_meta
from umbel.wire.portable_errors import from_portable
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.listening import ResultListener
    from umbel.config.settings import Settings


class ResultHome(Protocol):
    """The app, as handles need it."""

    @property
    def settings(self) -> Settings:
        """The settings now in force."""
        ...

    @property
    def broker(self) -> Broker:
        """Where revocations go."""
        ...

    @property
    def result_backend(self) -> ResultBackend:
        """Where results rest. Raises NoResultBackend where none is configured."""
        ...

    @property
    def results(self) -> ResultListener:
        """Who hears of results."""
        ...

    def AsyncResult(self, id: str, *, parent: Any = None) -> Any:  # noqa: A002, N802 - Celery's
        """Make the handle of one run."""
        ...

    def GroupResult(  # noqa: N802 - Celery's
        self,
        id: str,  # noqa: A002 - Celery's
        results: Iterable[Any],
        *,
        parent: Any = None,
    ) -> Any:
        """Make the handle of a group."""
        ...


NOTHING_STORED: Mapping[str, Any] = {"status": "PENDING", "result": None}
"""What is known of an id without a document."""


def read_record(home: ResultHome, record: ResultRecord) -> dict[str, Any]:
    """Decode a record; the result of a failed state becomes the exception itself.

    Raises DecodeError, BackendGetMetaError.
    """
    serializer = SERIALIZERS.get(home.settings.result_serializer)
    meta = result_meta.decode(record.document, serializer=serializer)
    if meta["status"] in EXCEPTION_STATES:
        meta["result"] = _exception(meta)
    return meta


def _exception(meta: Mapping[str, Any]) -> BaseException | None:
    stored = meta.get("result")
    if stored is None:
        return None
    if isinstance(stored, Mapping):
        error = from_portable(stored)
    elif isinstance(stored, BaseException):
        error = stored
    else:
        error = TaskError(stored)
    if meta.get("traceback"):
        # Where the error is printed, the place that raised it is printed too.
        error.add_note(f"Traceback in the worker, task {meta.get('task_id')}:\n{meta['traceback']}")
    return error


def timed_out(
    what: str, timeout: float | None, states: str, trouble: Exception | None
) -> ResultTimeout:
    """Return the error of a wait that ended too early."""
    why = f" The result store could not be reached lately: {trouble}." if trouble else ""
    error = ResultTimeout(
        f"{what} not finished after {timeout or 0:g} s; {states}.{why} "
        "Nothing was stopped: ask again, or allow more time with get(timeout=...)"
    )
    error.__cause__ = trouble
    return error


def last_known(state: str) -> str:
    """Say what the last known state was, and what PENDING may mean."""
    if state == "PENDING":
        return "the last known state is PENDING (nothing is stored under this id yet)"
    return f"the last known state is {state}"
