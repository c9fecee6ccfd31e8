"""ResultSet and GroupResult: handles on several runs together.

Made by bulk sending, groups, and by hand. They hold other handles; what happens to each run is in
``handles``, who is told when in ``listening``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any, Generic, cast

from umbel.app.handles import revoke_all
from umbel.app.joining import assert_will_not_block
from umbel.app.result_gathering import Gathering, OnMessage
from umbel.app.result_members import ResultMembers, document_of
from umbel.app.result_reading import ResultHome, timed_out
from umbel.app.result_trees import ResultBase, leaves_of
from umbel.errors import ResultTimeout
from umbel.ports import ResultBackend
from umbel.workflows import binding
from umbel.workflows.binding import R

Callback = Callable[[str, Any], object]


class ResultSet(ResultMembers, Generic[R]):
    """Several runs, in order. A thread may use it while no other changes its membership.

    Waiting for all of them takes one subscription, not one each. It is awaitable, and both ``for``
    (over the handles) and ``async for`` (over values, as they come) work.
    """

    TimeoutError = ResultTimeout
    parent: ResultBase | None = None

    def __init__(
        self,
        results: Iterable[Any] = (),
        app: ResultHome | None = None,
        ready_barrier: Any = None,  # noqa: ARG002 - Celery's signature
        **_: Any,
    ) -> None:
        self._app = app
        self.results: list[Any] = list(results)

    # --- waiting ----------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        """Wait for every member and return their values in order.

        The first failure is raised as soon as it is known, unless ``propagate`` is false: then it
        stands among the values. With ``callback``, it gets each id and value, and None is
        returned. Raises ResultTimeout after ``timeout`` seconds in all, and as ``AsyncResult.get``.
        """
        return self.join_native(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            on_interval=on_interval,
            disable_sync_subtasks=disable_sync_subtasks,
        )

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,  # noqa: ARG002 - Celery's signature; means nothing here
        on_message: OnMessage | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> list[Any]:
        """Do as ``get``, but call ``callback`` in the members' order; the list is empty then."""
        values: dict[int, Any] = {}
        told = 0
        for position in self._settling(
            timeout, on_message, disable_sync_subtasks, interval, on_interval
        ):
            values[position] = self._value(position, propagate)
            while callback is not None and told in values:
                callback(self.results[told].id, values[told])
                told += 1
        return [] if callback is not None else [values[one] for one in range(len(self.results))]

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,  # noqa: ARG002 - Celery's signature; means nothing here
        on_message: OnMessage | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any] | None:
        """Do as ``get``; ``callback`` is called in the order in which members are over."""
        values: list[Any] = [None] * len(self.results)
        for position in self._settling(
            timeout, on_message, disable_sync_subtasks, interval, on_interval
        ):
            value = self._value(position, propagate)
            if callback is not None:
                callback(self.results[position].id, value)
            else:
                values[position] = value
        return None if callback is not None else values

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002 - Celery's signature; means nothing here
        on_message: OnMessage | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Walk the members as they are over, as pairs of an id and its stored document.

        A member that is a set itself gives a list of documents.
        """
        for position in self._settling(
            timeout, on_message, disable_sync_subtasks, interval, on_interval
        ):
            yield self.results[position].id, document_of(self.results[position])

    def iterate(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5
    ) -> Iterator[R]:
        """Walk the values in the order in which members are over. Raises as ``get``."""
        for position in self._settling(timeout, None, True, interval, None):
            yield self._value(position, propagate)

    def _settling(
        self,
        timeout: float | None,
        on_message: OnMessage | None,
        disable_sync_subtasks: bool,
        interval: float,
        on_interval: Callable[[], object] | None,
    ) -> Iterator[int]:
        """Yield the position of each member once it is over."""
        if disable_sync_subtasks:
            assert_will_not_block()
        gathering = Gathering(self.results, on_message)
        yield from gathering.settled
        if not gathering.open_members:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        with gathering.listener().session(gathering.missing) as waiter:
            while gathering.open_members:
                soon = deadline
                if on_interval is not None:
                    tick = time.monotonic() + interval
                    soon = tick if deadline is None else min(deadline, tick)
                records = waiter.take(soon)
                if on_interval is not None:
                    on_interval()
                if not records and deadline is not None and time.monotonic() >= deadline:
                    raise self._timed_out(gathering, timeout, waiter.trouble)
                yield from gathering.absorb(records)

    async def _asettling(self, timeout: float | None) -> AsyncIterator[int]:
        gathering = Gathering(self.results)
        for position in gathering.settled:
            yield position
        if not gathering.open_members:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        with gathering.listener().async_session(gathering.missing) as waiter:
            while gathering.open_members:
                records = await waiter.take(deadline)
                if not records and deadline is not None and time.monotonic() >= deadline:
                    raise self._timed_out(gathering, timeout, waiter.trouble)
                for position in gathering.absorb(records):
                    yield position

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> list[R]:
        """Do as ``get``, without blocking the event loop; ``await results`` is this."""
        values: list[Any] = [None] * len(self.results)
        settling = self._asettling(timeout)
        try:
            async for position in settling:
                values[position] = self._value(position, propagate)
        finally:
            await cast("Any", settling).aclose()
        return values

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self.aget().__await__()

    async def __aiter__(self) -> AsyncIterator[R]:
        settling = self._asettling(None)
        try:
            async for position in settling:
                yield self._value(position, propagate=True)
        finally:
            await cast("Any", settling).aclose()

    def then(
        self,
        callback: Callable[[ResultSet[R]], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,  # noqa: ARG002 - Celery's signature; the handle is kept until then
    ) -> ResultSet[R]:
        """Have ``callback`` called with this set once every member is over.

        It is called on a background thread. ``on_error`` is called where waiting itself fails.
        """
        gathering = Gathering(self.results)
        if not gathering.open_members:
            callback(self)
            return self

        def on_record(record: Any) -> None:
            if gathering.absorb([record]) and not gathering.open_members:
                callback(self)

        gathering.listener().notify(gathering.missing, on_record, on_error or (lambda _: None))
        return self

    @property
    def on_ready(self) -> ResultSet[R]:
        """What ``then`` can be called on; here the set itself."""
        return self

    def _value(self, position: int, propagate: bool) -> Any:
        """Return the value of a member that is over."""
        member = self.results[position]
        if isinstance(member, ResultSet):
            return member.join(propagate=propagate, disable_sync_subtasks=False)
        return member.get(propagate=propagate, disable_sync_subtasks=False, follow_parents=False)

    def _timed_out(
        self, gathering: Gathering, timeout: float | None, trouble: Exception | None
    ) -> ResultTimeout:
        missing = list(gathering.missing)
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        done = len(self.results) - gathering.open_members
        states = f"{done} of {len(self.results)} are over, {shown} among those that are not"
        return timed_out(f"the {len(self.results)} results were", timeout, states, trouble)

    # --- doing something to them ------------------------------------------------------------------

    def revoke(
        self,
        connection: Any = None,  # noqa: ARG002 - Celery's signature; the app's broker is used
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,  # noqa: ARG002 - the revocation is stored: there is no reply to await
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> None:
        """Revoke every member in one step; see ``AsyncResult.revoke``."""
        ids = list(dict.fromkeys(run.id for run in leaves_of(self)))
        if ids:
            revoke_all(self.app, ids, terminate=terminate, signal=signal)

    def forget(self) -> None:
        """Delete what is stored of every member."""
        for member in self.results:
            member.forget()

    # --- itself -----------------------------------------------------------------------------------

    @property
    def app(self) -> ResultHome:
        """The app given, or that of the first member, or the current one."""
        if self._app is None:
            first = next(leaves_of(self), None)
            home = first.app if first is not None else cast("ResultHome", binding.current())
            self._app = home
        return self._app

    @app.setter
    def app(self, app: ResultHome) -> None:
        self._app = app

    @property
    def backend(self) -> ResultBackend:
        """Where the results rest."""
        first = next(leaves_of(self), None)
        return first.backend if first is not None else self.app.result_backend

    @property
    def supports_native_join(self) -> bool:
        """Every backend tells of results by itself."""
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultSet):
            return bool(other.results == self.results)
        return NotImplemented

    def __hash__(self) -> int:
        raise TypeError(f"a {type(self).__name__} has no hash: its membership may change")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(one.id) for one in self.results)}]>"
