"""One session with PostgreSQL: connecting, sending steps in one go, hearing, forks, errors.

Every other module of this driver talks to the server through here; with ``failures`` and
``transactions`` it is the only one that sees psycopg's errors. A call sends all its statements in
one round trip (pipeline mode), as one transaction.

Every wait ends: connecting by libpq's ``connect_timeout``, an answer by its deadline. A session
that broke is never used again; ``generation`` counts how many there were, so its user can tell.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import msgspec
import psycopg
from psycopg import errors as pg

from umbel.drivers.postgres import failures, schema
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bell
from umbel.drivers.postgres.statements import statements
from umbel.errors import (
    BackendUnavailable,
    BrokerUnavailable,
    ImproperlyConfigured,
    OperationalError,
    OutcomeUnknown,
)

Rows: TypeAlias = list[tuple[Any, ...]]
Step: TypeAlias = tuple[bytes, Mapping[str, Any]]
T = TypeVar("T")

_SETTINGS = b"; ".join(
    (
        # The tables swing between empty and millions of rows, and what the planner knows of them is
        # always old: so it is told to use the indexes, which are made for every statement there is.
        b"SET enable_seqscan = off",
        b"SET plan_cache_mode = force_generic_plan",
        b"SET jit = off",
        # Who has waited for a lock must see what its former holder has committed.
        b"SET default_transaction_isolation = 'read committed'",
        b"SET TIME ZONE 'UTC'",
        b"SET client_min_messages = warning",
    )
)
"""One round trip for all of them."""
_BROKEN = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleSessionTimeout)
_READY_R, _READY_W = 1, 2

_open: weakref.WeakSet[Connection] = weakref.WeakSet()
_inherited: list[Any] = []
"""Sessions of the parent process: kept, so that nobody says goodbye on its sockets."""


def _after_fork_in_child() -> None:
    for connection in list(_open):
        connection.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Role(msgspec.Struct, frozen=True):
    """What we call the server in errors, and which errors we raise."""

    name: str
    unavailable: type[OperationalError]
    unknown: type[OperationalError]


BROKER = Role("broker", BrokerUnavailable, OutcomeUnknown)
BACKEND = Role("result store", BackendUnavailable, BackendUnavailable)


class _TimedOut(Exception):
    """No answer came before the deadline."""


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A psycopg connection whose waits end at a deadline."""

    deadline = 0.0
    dismissed = False
    """The server has said that it ends the session; the end of the stream may come later."""

    overdue = False
    """A deadline has passed while an answer was awaited: whatever comes on it is not ours."""

    def note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """Look at what the server said unasked."""
        if diagnostic.severity_nonlocalized in ("FATAL", "PANIC"):
            self.dismissed = True

    def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
        try:
            return self._wait(gen)
        except (_TimedOut, psycopg.Error):
            # What is left of a conversation on a lost connection has nothing to say to anybody.
            with contextlib.suppress(psycopg.Error):
                gen.close()
            raise

    def _wait(self, gen: Any) -> Any:
        poll = select.poll()
        try:
            state = next(gen)
            descriptor = self.pgconn.socket
            while True:
                poll.register(
                    descriptor,
                    (select.POLLIN if state & _READY_R else 0)
                    | (select.POLLOUT if state & _READY_W else 0),
                )
                remaining = self.deadline - time.monotonic()
                found = poll.poll(max(0.0, remaining) * 1000)
                if not found:
                    self.overdue = True
                    raise _TimedOut
                mask = found[0][1]
                ready = _READY_W if mask & select.POLLOUT else 0
                if mask & ~select.POLLOUT:
                    ready |= _READY_R
                state = gen.send(ready & state or state)
        except StopIteration as end:
            return end.value


class Connection:
    """One session, made when it is first needed and again after a failure or a fork.

    One thread at a time.
    """

    def __init__(self, address: Address, role: Role) -> None:
        self.address = address
        self.role = role
        self.generation = 0
        self.heard: deque[tuple[str, str]] = deque()
        """Channel and payload of what was notified, until somebody takes it."""
        self._session: _Session | None = None
        self._poll: Any = None
        self._sql = statements(address.schema)
        _open.add(self)

    # --- life ---------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a session that has not been seen to break."""
        return self._session is not None

    def fileno(self) -> int:
        """Return the descriptor to wait on; only while connected."""
        assert self._session is not None
        return self._session.pgconn.socket

    def ensure(self, timeout: float | None = None) -> None:
        """Connect unless there is a live session. Raises ``role.unavailable``.

        ``timeout``: seconds for connecting, where that is less than the URL says. libpq counts in
        whole seconds and allows two at least.

        A session that the server ended meanwhile is noticed here, before anything is sent on it.
        """
        if self._session is not None and self._is_live():
            return
        self._connect(timeout)

    def _is_live(self) -> bool:
        try:
            self.listen_now()
        except OperationalError:
            return False
        return True

    def _connect(self, timeout: float | None) -> None:
        self.close()
        try:
            session = _Session.connect(self.address.conninfo_within(timeout), autocommit=True)
        except psycopg.Error as error:
            sentence = failures.not_connected(self.address, self.role.name, error)
            raise self.role.unavailable(sentence) from error
        session.deadline = time.monotonic() + self.address.timeout
        try:
            settings = _SETTINGS
            if self.address.synchronous_commit is not None:
                value = self.address.synchronous_commit.encode()
                settings += b"; SET synchronous_commit = " + value
            session.execute(settings)
            schema.check(session, self.address)
        except (psycopg.Error, _TimedOut) as error:
            refused = self._refused(error, session)
            session.close()
            raise refused from error
        except BaseException:
            session.close()
            raise
        session.add_notice_handler(session.note)
        session.add_notify_handler(lambda told: self.heard.append((told.channel, told.payload)))
        self._session = session
        self._poll = select.poll()
        self._poll.register(session.pgconn.socket, select.POLLIN)
        self.generation += 1

    def close(self) -> None:
        """End the session. The next use makes a new one."""
        session, self._session = self._session, None
        self._poll = None
        self.heard.clear()
        if session is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                session.close()

    def __del__(self) -> None:
        # For who forgets to close: psycopg would warn.
        if self._session is not None:
            self._session.close()

    def abandon(self) -> None:
        """Forget a session that belongs to the parent process, and make it mute here."""
        session, self._session = self._session, None
        if session is None:
            return
        _inherited.append(session)
        # Whatever libpq may want to say on it at the end of this process goes nowhere.
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nowhere, session.pgconn.socket, inheritable=False)
            os.close(nowhere)

    # --- talk ---------------------------------------------------------------------------------

    def step(self, name: str, /, **values: Any) -> Step:
        """Return a statement with its values, to be run."""
        return self._sql[name], values

    def listen(self, channel: str) -> Step:
        """Return the statement to hear of a channel from now on; a name of ``bells``."""
        return b"LISTEN " + channel.encode(), {}

    def one(self, name: str, /, **values: Any) -> Rows:
        """Run one statement and return its rows."""
        return self.run([self.step(name, **values)])[0]

    def run(
        self,
        steps: Sequence[Step],
        *,
        rings: Sequence[tuple[Bell, str]] = (),
        timeout: float | None = None,
    ) -> list[Rows]:
        """Run the steps as one transaction, then ring; one round trip. Return the rows of each.

        Raises ``role.unavailable`` when nothing of it was kept, ``role.unknown`` when all of it may
        have been, ImproperlyConfigured where a person must do something about the database.
        """
        self.ensure()
        session = self._session
        assert session is not None
        session.deadline = time.monotonic() + (timeout or self.address.timeout)
        try:
            if len(steps) == 1 and not rings:
                return [_rows(self._execute(session, steps[0]))]
            with session.pipeline() as pipeline:
                cursors = [self._execute(session, step) for step in steps]
                if rings:
                    if steps:
                        pipeline.sync()
                    self._execute(session, self._ring(rings))
            return [_rows(cursor) for cursor in cursors]
        except (psycopg.Error, _TimedOut) as error:
            raise self._refused(error, session) from error
        except BaseException:
            self.close()  # interrupted in the middle: whatever comes on it is not ours
            raise

    def _execute(self, session: _Session, step: Step) -> psycopg.Cursor[tuple[Any, ...]]:
        return session.execute(step[0], step[1], prepare=True, binary=True)

    def _ring(self, rings: Sequence[tuple[Bell, str]]) -> Step:
        return self.step(
            "ring",
            keys=[bell.key for bell, _ in rings],
            channels=[bell.channel for bell, _ in rings],
            payloads=[payload for _, payload in rings],
        )

    def listen_now(self) -> None:
        """Take in what was notified and has arrived, without waiting.

        Raises ``role.unavailable`` when the session turns out to be lost.
        """
        session = self._session
        if session is None:
            raise self.role.unavailable(f"{self._lost()}")
        pgconn = session.pgconn
        try:
            # More than once: a farewell is read before the end of the stream is.
            while self._poll.poll(0):
                pgconn.consume_input()
                while (notice := pgconn.notifies()) is not None:
                    self.heard.append((notice.relname.decode(), notice.extra.decode()))
                if session.dismissed or pgconn.status != psycopg.pq.ConnStatus.OK:
                    raise psycopg.OperationalError("the server ended the session")
        except psycopg.Error as error:
            self.close()
            raise self.role.unavailable(f"{self._lost()} ({failures.words(error)})") from error

    # --- what went wrong ----------------------------------------------------------------------

    def _refused(self, error: BaseException, session: _Session) -> Exception:
        """Return our error for psycopg's, and close what may be broken."""
        broken = session.closed or session.broken or _in_conversation(session)
        if session.overdue:  # psycopg may have hidden it behind an error of its own
            self.close()
            return self.role.unknown(
                f"the {self.role.name} {self.address.url} did not answer within "
                f"{self.address.timeout:g} s"
            )
        if broken or isinstance(error, _BROKEN):
            self.close()
            return self.role.unknown(
                f"{self._lost()} before the answer came ({failures.words(error)})"
            )
        if isinstance(error, pg.UndefinedTable | pg.InvalidSchemaName | pg.UndefinedColumn):
            self.close()
            return ImproperlyConfigured(failures.tables_missing(self.address))
        if isinstance(error, pg.InsufficientPrivilege):
            return self.role.unavailable(failures.not_allowed(self.address, error))
        assert isinstance(error, psycopg.Error)
        return self.role.unavailable(
            f"the {self.role.name} {self.address.url} refused ({failures.words(error)}); nothing "
            "was written"
        )

    def _lost(self) -> str:
        return f"the connection to the {self.role.name} {self.address.url} was lost"


def _in_conversation(session: _Session) -> bool:
    """Tell whether there may be answers on their way, so that the session is of no use."""
    pq = psycopg.pq
    return (
        session.pgconn.pipeline_status != pq.PipelineStatus.OFF
        or session.pgconn.transaction_status == pq.TransactionStatus.ACTIVE
    )


def _rows(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Rows:
    return cursor.fetchall() if cursor.description is not None else []


class ConnectionPool:
    """Connections for methods that any thread may call. Thread-safe."""

    def __init__(self, address: Address, role: Role) -> None:
        self.address = address
        self._role = role
        self._idle: list[Connection] = []

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Give a connection for the block."""
        # list.pop and list.append are atomic: no lock that a fork could leave locked.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self.address, self._role)
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Close every connection that is not lent just now."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


def product(connection: Connection) -> str:
    """Reach the server once; return its name and version."""
    ((version,),) = connection.one("version")
    return f"PostgreSQL {version.partition(' ')[0]}"
