"""AsyncResult: a handle on one run of one task.

Made by sending, by hand from an id, and from result tuples. Making one costs no round trip.
Reading asks the result backend; waiting goes through the listener. What a *set* of runs did is in
``result_sets``; a run that happened right here is in ``eager_results``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Generic, Literal, cast, overload

from umbel.app.joining import assert_will_not_block
from umbel.app.listening import ResultListener, listener_for
from umbel.app.result_metadata import StoredMetadata
from umbel.app.result_reading import (
    NOTHING_STORED,
    ResultHome,
    last_known,
    read_record,
    timed_out,
)
from umbel.app.result_trees import ResultBase, ResultTree, leaves_of
from umbel.errors import OperationalError, ResultTimeout, TaskError
from umbel.model.outcome import PROPAGATE_STATES, READY_STATES, ResultRecord
from umbel.model.revocation import Revocation
from umbel.ports import ResultBackend
from umbel.workflows import binding
from umbel.workflows.binding import R


class AsyncResult(StoredMetadata, ResultTree, Generic[R]):
    """A handle on one run: ask it how the run stands, wait for it, or revoke it.

    Equal to every handle with the same id, and to the id itself. Any thread may use it; awaiting
    it gives the value. It can be copied and pickled; the copy finds its app where it lands.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_app",
        "_backend",
        "_cache",
        "id",
        "ignored",
        "parent",
        "task_name",
    )

    TimeoutError = ResultTimeout
    """What ``get`` raises when time runs out."""

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        backend: ResultBackend | None = None,
        task_name: str | None = None,
        app: ResultHome | None = None,
        parent: ResultBase | None = None,
    ) -> None:
        if id is None:
            raise ValueError("a result needs the id of its task, not None")
        self.id = id
        self.task_name = task_name
        self.parent = parent
        self.ignored = False
        """Nothing is kept of this run: ``get`` returns None at once."""
        self._backend = backend
        self._app = app
        self._cache: Mapping[str, Any] | None = None

    # --- waiting ----------------------------------------------------------------------------------

    @overload
    def get(
        self,
        timeout: float | None = None,
        propagate: Literal[True] = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], object] | None = None,
        on_message: Callable[[Mapping[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
        **ignored: Any,
    ) -> R: ...

    @overload
    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> Any: ...

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002 - Celery's signature; means nothing here
        follow_parents: bool = True,
        callback: Callable[[str, Any], object] | None = None,
        on_message: Callable[[Mapping[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
        **_: Any,
    ) -> Any:
        """Wait until the run is over and return its value, or raise what it raised.

        The store tells when it is there: ``interval`` matters to ``on_interval`` only.
        ``propagate`` false returns the exception in place of raising it. ``follow_parents``: a
        parent that failed ends the wait with its error, for this run will never begin.
        ``callback`` gets the id and the value; ``on_message`` every stored document on the way.
        Raises ResultTimeout after ``timeout`` seconds, JoinRefused inside a task (unless
        ``disable_sync_subtasks`` is false), BackendUnavailable, NoResultBackend.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block()
        if self._cache is None:
            parents = self._open_parents() if follow_parents and propagate else {}
            deadline = None if timeout is None else time.monotonic() + timeout
            tick = interval if on_interval is not None else None
            state = "PENDING"
            with self._listener().session((self.id, *parents)) as waiter:
                while self._cache is None:
                    records = waiter.take(_sooner(deadline, tick))
                    if on_interval is not None:
                        on_interval()
                    for record in records:
                        state = self._hear(record, parents, on_message) or state
                    if not records and deadline is not None and time.monotonic() >= deadline:
                        self._look_once_more(timeout, state, waiter.trouble)
        return self.maybe_throw(propagate=propagate, callback=callback)

    wait = get

    async def aget(
        self, timeout: float | None = None, propagate: bool = True, follow_parents: bool = True
    ) -> R:
        """Do as ``get``, without blocking the event loop; ``await result`` is this.

        Cancelling it stops the waiting, not the task.
        """
        if self.ignored:
            return cast("R", None)
        if self._cache is None:
            parents = self._open_parents() if follow_parents and propagate else {}
            deadline = None if timeout is None else time.monotonic() + timeout
            state = "PENDING"
            with self._listener().async_session((self.id, *parents)) as waiter:
                while self._cache is None:
                    records = await waiter.take(deadline)
                    for record in records:
                        state = self._hear(record, parents, None) or state
                    if not records and deadline is not None and time.monotonic() >= deadline:
                        raise self._timed_out(timeout, state, waiter.trouble)
        return cast("R", self.maybe_throw(propagate=propagate))

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def then(
        self,
        callback: Callable[[AsyncResult[R]], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,  # noqa: ARG002 - Celery's signature; the handle is kept until then
    ) -> AsyncResult[R]:
        """Have ``callback`` called with this handle once the run is over, however it ended.

        It is called on a background thread. ``on_error`` is called where waiting itself fails.
        """
        if self._cache is not None or self.ignored:
            callback(self)
            return self

        def on_record(record: ResultRecord) -> None:
            if record.final:
                self._hear(record, {}, None)
                callback(self)

        self._listener().notify([self.id], on_record, on_error or (lambda _: None))
        return self

    @property
    def on_ready(self) -> AsyncResult[R]:
        """What ``then`` can be called on; here the handle itself."""
        return self

    def _listener(self) -> ResultListener:
        if self._backend is not None:
            return listener_for(self._backend)
        return self.app.results

    def _hear(
        self,
        record: ResultRecord,
        parents: Mapping[str, AsyncResult[Any]],
        on_message: Callable[[Mapping[str, Any]], object] | None,
    ) -> str | None:
        """Take in a record; return the state if it is ours. Raises a parent's failure."""
        if record.task_id == self.id:
            meta = read_record(self.app, record)
            if meta["status"] in READY_STATES:
                self._cache = meta
            if on_message is not None:
                on_message(meta)
            return record.state
        parent = parents.get(record.task_id)
        if parent is not None:
            parent._hear(record, {}, None)
            parent._throw_if_failed()
        return None

    def _look_once_more(self, timeout: float | None, state: str, trouble: Exception | None) -> None:
        """Time is up: raise, unless the result is there all the same."""
        if trouble is None:
            try:
                if self._get_meta()["status"] in READY_STATES:
                    return
            except OperationalError as error:
                trouble = error
        raise self._timed_out(timeout, state, trouble)

    def _timed_out(
        self, timeout: float | None, state: str, trouble: Exception | None
    ) -> ResultTimeout:
        name = f"{self.task_name}[{self.id}]" if self.task_name else self.id
        return timed_out(f"task {name} was", timeout, last_known(state), trouble)

    def _open_parents(self) -> dict[str, AsyncResult[Any]]:
        """Return the runs before this one that are not known to be over. Raises their failures."""
        leaves: dict[str, AsyncResult[Any]] = {}
        node = self.parent
        while node is not None:
            for leaf in leaves_of(node):
                leaf._throw_if_failed()
                if leaf._cache is None and not leaf.ignored:
                    leaves[leaf.id] = leaf
            node = node.parent
        return leaves

    def _throw_if_failed(self) -> None:
        if self._cache is not None and self._cache["status"] in PROPAGATE_STATES:
            self.maybe_throw()

    # --- how it stands ----------------------------------------------------------------------------

    def _get_meta(self) -> Mapping[str, Any]:
        """Return what is stored now; once it is final, the store is not asked again."""
        if self._cache is not None:
            return self._cache
        record = self.backend.fetch([self.id]).get(self.id)
        if record is None:
            return NOTHING_STORED
        meta = read_record(self.app, record)
        if meta["status"] in READY_STATES:
            self._cache = meta
        return meta

    def ready(self) -> bool:
        """Tell whether the run is over: succeeded, failed or revoked."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """Tell whether the run returned."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Tell whether the run raised. A revoked run did not."""
        return self.state == "FAILURE"

    def exists(self) -> bool:
        """Tell whether anything is stored under this id: PENDING alone cannot."""
        return self._cache is not None or bool(self.backend.fetch([self.id]))

    def throw(self, error: BaseException | None = None, tb: Any = None) -> None:  # noqa: ARG002
        """Raise this error, or the run's own."""
        raise_error(error if error is not None else self.result)

    def maybe_throw(
        self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None
    ) -> Any:
        """Raise what the run raised, if it is over and did; else return what is stored."""
        meta = self._get_meta()
        value = meta["result"]
        if propagate and meta["status"] in PROPAGATE_STATES:
            raise_error(value)
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    # --- doing something to it --------------------------------------------------------------------

    def forget(self) -> None:
        """Delete what is stored of this run and of its parents."""
        self._cache = None
        if isinstance(self.parent, AsyncResult):
            self.parent.forget()
        self.backend.forget([self.id])

    def revoke(
        self,
        connection: Any = None,  # noqa: ARG002 - Celery's signature; the app's broker is used
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,  # noqa: ARG002 - the revocation is stored: there is no reply to await
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> None:
        """See that the task does not run, wherever it is now.

        The broker keeps this, so it holds though every worker is down. A run that has begun goes
        on, unless ``terminate``; ``signal`` is how, in pools that have processes.
        """
        revoke_all(self.app, [self.id], terminate=terminate, signal=signal)

    # --- itself -----------------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    @task_id.setter
    def task_id(self, value: str) -> None:
        self.id = value

    @property
    def app(self) -> ResultHome:
        """The app that sent it, or the current one."""
        if self._app is None:
            self._app = cast("ResultHome", binding.current())
        return self._app

    @app.setter
    def app(self, app: ResultHome) -> None:
        self._app = app

    @property
    def backend(self) -> ResultBackend:
        """Where the result rests."""
        return self._backend if self._backend is not None else self.app.result_backend

    @property
    def supports_native_join(self) -> bool:
        """Every backend tells of results by itself."""
        return True

    def __str__(self) -> str:
        return self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return bool(self.id == other.id)
        return self.id == other if isinstance(other, str) else NotImplemented

    def __copy__(self) -> AsyncResult[R]:
        copied = type(self)(self.id, self._backend, self.task_name, self._app, self.parent)
        copied.ignored = self.ignored
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        # Neither app nor backend: connections stay home, and the reader has its own.
        return type(self), (self.id, None, self.task_name, None, self.parent)


def revoke_all(
    app: ResultHome, task_ids: Sequence[str], *, terminate: bool, signal: str | None
) -> None:
    """Revoke these tasks in one step."""
    revocations = [
        Revocation(task_id=one, terminate=terminate, signal=signal or "SIGTERM") for one in task_ids
    ]
    app.broker.revoke(revocations, keep=app.settings.task_revoke_keep)


def raise_error(error: Any) -> None:
    """Raise the error of a run; a value that is none is wrapped in TaskError."""
    if isinstance(error, BaseException):
        # The same object is raised by every ``get``: without this its traceback would only grow.
        raise error.with_traceback(None)
    raise TaskError(error)


def _sooner(deadline: float | None, tick: float | None) -> float | None:
    """Return the earlier of a deadline and so many seconds from now."""
    if tick is None:
        return deadline
    soon = time.monotonic() + tick
    return soon if deadline is None else min(soon, deadline)
