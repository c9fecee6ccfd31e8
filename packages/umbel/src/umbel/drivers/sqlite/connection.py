"""Connections to one database file: opening, locking, transactions, forks, errors.

The only module that imports sqlite3, and the only one that catches its errors. Called by every
other module of this driver.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from umbel.drivers.sqlfiles import load_migrations
from umbel.drivers.sqlite.location import Location
from umbel.errors import ImproperlyConfigured, OperationalError, OutcomeUnknown

Database: TypeAlias = sqlite3.Connection
"""An open transaction's handle: run statements with it, keep it no longer."""

PRODUCT = f"SQLite {sqlite3.sqlite_version}"
OLDEST = (3, 35, 0)
"""RETURNING came with it."""

_MIGRATIONS = load_migrations("umbel.drivers.sqlite")

_FIRST_READ = "SELECT last FROM umbel_place"
"""A transaction takes hold of the file with its first statement, not with BEGIN."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FAULTS = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError)
"""Mistakes in the code: trying again would not help, so these are raised as they are."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01
"""Seconds between tries for the write lock. A transaction takes about a millisecond; SQLite's own
waiting would soon sleep 100 ms at a time, or whole seconds where it was built without usleep."""

LOG_LIMIT = 16_000_000
"""Bytes of write-ahead log above which a writer makes room (_shorten_log)."""
_LOG_LOOK = 0.25
"""Seconds between looks at the size of the log."""

_open: weakref.WeakSet[Connection] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
"""Connections of the parent process. Closing one in a child could break the parent's locks, and
so could the garbage collector: so they are kept, untouched, for good."""


def _after_fork_in_child() -> None:
    for connection in list(_open):
        connection.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Connection:
    """One connection, made when it is first needed and again after a failure or a fork.

    Belongs to one thread at a time. ``unavailable`` is the error raised when the file cannot be
    used now.
    """

    def __init__(self, location: Location, unavailable: type[OperationalError]) -> None:
        self._database: sqlite3.Connection | None = None
        self.location = location
        self._unavailable = unavailable
        self._file = (0, 0)
        self._look_at_log = 0.0
        _open.add(self)

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """Give a handle for statements that only read, all of them the same state of the file.

        Waits for no writer. Only while another process opens the file for itself alone, or takes
        the log away after it, does it wait, for up to the location's ``timeout``.
        """
        deadline = time.monotonic() + self.location.timeout
        try:
            database = self._ready(self.location.timeout)
            self._begin(database, deadline, "BEGIN", _FIRST_READ)
            try:
                yield database
            finally:
                if database.in_transaction:
                    database.execute("COMMIT")
        except _FAULTS:
            raise
        except sqlite3.Error as error:
            raise self._translated(error) from error

    @contextmanager
    def writing(self, timeout: float | None = None) -> Iterator[Database]:
        """Give a handle inside a transaction that is committed at the end of the block.

        Waits up to ``timeout`` seconds (the location's, by default) while another process writes.
        An exception inside the block undoes everything.
        """
        limit = self.location.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        try:
            database = self._ready(limit)
            self._begin(database, deadline, "BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._translated(error) from error
        try:
            yield database
        except BaseException as error:
            self._undo(database)
            if isinstance(error, sqlite3.Error) and not isinstance(error, _FAULTS):
                raise self._translated(error) from error
            raise
        self._commit(database)

    def _begin(self, database: sqlite3.Connection, deadline: float, *statements: str) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                for statement in statements:
                    database.execute(statement)
            except sqlite3.OperationalError as error:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - only spreads the tries
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            else:
                return

    def _commit(self, database: sqlite3.Connection) -> None:
        try:
            database.execute("COMMIT")
        except sqlite3.Error as error:
            # Where the disk is full the last frame of the log, the one that counts, was not
            # written, and SQLite has rolled back by itself.
            undone = self._undo(database) or _code(error) == sqlite3.SQLITE_FULL
            translated = self._translated(error)
            if undone:
                raise translated from error
            raise OutcomeUnknown(f"{translated}; whether the last step was kept is unknown") from (
                error
            )
        now = time.monotonic()
        if now >= self._look_at_log:
            self._look_at_log = now + _LOG_LOOK
            self._shorten_log(database)

    def _shorten_log(self, database: sqlite3.Connection) -> None:
        """Begin the log anew where busy writers have kept SQLite from doing so.

        SQLite copies the log into the file by itself, but begins it anew only in a moment in which
        nobody has written since. Two busy workers leave no such moment: in the benchmark
        sqlite_durability.py the log grew by 190 MB for 200,000 tasks. TRUNCATE holds the writers
        off while it copies what is left, a few milliseconds.
        """
        try:
            if os.stat(f"{self.location.path}-wal").st_size < LOG_LIMIT:
                return
            database.execute("PRAGMA busy_timeout = 100")
            try:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                database.execute("PRAGMA busy_timeout = 0")
        except (OSError, sqlite3.Error):
            return  # the transaction is kept; whatever is wrong here, the next one will say

    def _undo(self, database: sqlite3.Connection) -> bool:
        """Roll back; True when nothing of the transaction can have been kept."""
        try:
            if database.in_transaction:
                database.execute("ROLLBACK")
                return True
        except sqlite3.Error:
            self.close()
        return False

    def _ready(self, timeout: float) -> sqlite3.Connection:
        database = self._database
        if database is not None and self._file == _identity(self.location):
            if database.in_transaction:
                # A signal handler raised between BEGIN and the block that would have undone it.
                database.execute("ROLLBACK")
            return database
        # Not open yet; or somebody has deleted or replaced the file, and writing on to the old one
        # would lose every message without a word.
        self.close()
        database = self._opened(timeout)
        self._database = database
        self._file = _identity(self.location)
        return database

    def _opened(self, timeout: float) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST:
            raise ImproperlyConfigured(
                f"this Python has SQLite {sqlite3.sqlite_version}, and Umbel needs 3.35 or newer"
            )
        # Threads may hand a connection over (a pool does), but never use it side by side.
        database = sqlite3.connect(
            self.location.path,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=128,
        )
        try:
            self._set_up(database, time.monotonic() + timeout)
        except BaseException:
            database.close()
            raise
        return database

    def _set_up(self, database: sqlite3.Connection, deadline: float) -> None:
        # Changing the journal mode does not wait for others by itself.
        pause = _FIRST_PAUSE
        while True:
            try:
                (mode,) = database.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        if mode != "wal":
            raise self._unavailable(
                f"SQLite keeps {self.location.path} in {mode} mode and refuses write-ahead logging,"
                " which several processes need; network file systems do that: use a local disk"
            )
        database.execute(f"PRAGMA synchronous = {self.location.synchronous}")
        # Deleted rows need not be overwritten with zeros: that would write every page twice.
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("PRAGMA cache_size = -8000")
        database.execute("PRAGMA journal_size_limit = 67108864")
        self._migrate(database, deadline)
        # From here on the waiting is ours (_begin).
        database.execute("PRAGMA busy_timeout = 0")

    def _migrate(self, database: sqlite3.Connection, deadline: float) -> None:
        newest = len(_MIGRATIONS)
        version = _schema_version(database)
        if version > newest:
            raise ImproperlyConfigured(
                f"{self.location.path} was written by a newer release of Umbel (schema {version}, "
                f"this one knows {newest}); upgrade Umbel here, or use another file"
            )
        if version == newest:
            return
        self._begin(database, deadline, "BEGIN IMMEDIATE")
        try:
            # Race: two processes may open a new file at once. The second reads the version again,
            # inside its transaction, and finds everything made.
            for number, statements in _MIGRATIONS[_schema_version(database) :]:
                for statement in _statements(statements):
                    database.execute(statement)
                database.execute("DELETE FROM umbel_schema")
                database.execute("INSERT INTO umbel_schema (version) VALUES (?)", (number,))
            database.execute("COMMIT")
        except BaseException:
            self._undo(database)
            raise

    def close(self) -> None:
        """Close the connection. The next use opens a new one."""
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def __del__(self) -> None:
        # For who forgets to close: without this, Python 3.13 warns of an unclosed database. At the
        # end of the interpreter the modules may be gone already, so it leans on none of them.
        if self._database is not None:
            self._database.close()

    def abandon(self) -> None:
        """Forget the connection without closing it: it belongs to the parent process."""
        if self._database is not None:
            _inherited.append(self._database)
            self._database = None

    def _translated(self, error: sqlite3.Error) -> Exception:
        """Return our error for SQLite's, and close what may be broken."""
        path = self.location.path
        code = _code(error)
        if code in _BUSY:
            return self._unavailable(
                f"{path} has been locked by another process for {self.location.timeout:g} s; "
                "an Umbel process holds it for milliseconds only: look for a backup, a shell or "
                "another program with an open transaction, or raise ?timeout="
            )
        self.close()
        if code == sqlite3.SQLITE_NOTADB:
            return ImproperlyConfigured(
                f"{path} is not an SQLite database (or is encrypted); name another file"
            )
        if code == sqlite3.SQLITE_CANTOPEN:
            return self._cannot_open()
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return self._unavailable(
                f"{path} cannot be written by this user (uid {_user()}); the file, its -wal and "
                "-shm files and their directory must all be writable"
            )
        if code == sqlite3.SQLITE_CORRUPT:
            return self._unavailable(
                f"{path} is damaged ({error}); stop every process, keep a copy, and rescue what "
                "can be read with: sqlite3 FILE .recover"
            )
        if code == sqlite3.SQLITE_FULL:
            return self._unavailable(f"the disk that holds {path} is full; nothing was written")
        return self._unavailable(f"SQLite could not use {path}: {error}")

    def _cannot_open(self) -> Exception:
        path = self.location.path
        if path.is_dir():
            return ImproperlyConfigured(f"{path} is a directory, and SQLite needs a file")
        if not path.parent.is_dir():
            return self._unavailable(
                f"the directory {path.parent} does not exist, so SQLite cannot make {path.name} "
                "there; make it, or correct the URL"
            )
        return self._unavailable(
            f"{path} cannot be opened by this user (uid {_user()}); check the permissions of the "
            "file and of its directory"
        )


class ConnectionPool:
    """Connections for methods that any thread may call. Thread-safe."""

    def __init__(self, location: Location, unavailable: type[OperationalError]) -> None:
        self.location = location
        self._unavailable = unavailable
        self._idle: list[Connection] = []

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        # list.pop and list.append are atomic: no lock that a fork could leave locked.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self.location, self._unavailable)
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """As ``Connection.reading``."""
        with self._lent() as connection, connection.reading() as database:
            yield database

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """As ``Connection.writing``."""
        with self._lent() as connection, connection.writing() as database:
            yield database

    def close(self) -> None:
        """Close every connection that is not lent just now."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


def _code(error: sqlite3.Error) -> int:
    """Return what SQLite's error is about, without its finer distinctions."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_busy(error: sqlite3.Error) -> bool:
    return _code(error) in _BUSY


def _identity(location: Location) -> tuple[int, int]:
    try:
        found = os.stat(location.path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else (0, 0)


def _schema_version(database: sqlite3.Connection) -> int:
    known = database.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'umbel_schema'"
    ).fetchone()
    if known is None:
        return 0
    (version,) = database.execute("SELECT max(version) FROM umbel_schema").fetchone()
    return int(version)


def _statements(text: str) -> Iterator[str]:
    """Split a migration into its statements. executescript would commit in between."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _user() -> int | str:
    return os.getuid() if hasattr(os, "getuid") else "?"
