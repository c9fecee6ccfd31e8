"""The engine of SQLAlchemy behind one URL: transactions, tried again, and their errors as ours.

Called by ``result_backend`` and ``watcher``. Nothing else of this driver opens a connection.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from umbel.drivers.celery_tables.address import Options
from umbel.drivers.celery_tables.schema import Tables
from umbel.drivers.engines import code_of, make_engine, translated, words
from umbel.errors import BackendUnavailable, ImproperlyConfigured

T = TypeVar("T")

ATTEMPTS = 3
_AGAIN = frozenset({"40001", "40P01", 1205, 1213})
"""Codes of transactions that the database ended because of another one."""
_TOO_BIG = frozenset({1153, 2020})
"""Codes of MySQL and MariaDB for more bytes than a statement may have."""


class Unfit(Exception):
    """A value that a column does not take; its text is the database's."""


class Database:
    """One engine, made when first used. Thread-safe; a forked child has connections of its own."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tables = Tables(options)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0

    def run(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns, done in one transaction.

        It is done again where another transaction was in the way, or the connection was lost: so it
        must be one whose repetition changes nothing. Raises BackendUnavailable,
        ImproperlyConfigured, and Unfit for a value that a column does not take.
        """
        with translated(self.options.shown, BackendUnavailable, missing=self._gone):
            for left in reversed(range(ATTEMPTS)):
                try:
                    with self._ready().begin() as connection:
                        return work(connection)
                except DBAPIError as error:
                    if isinstance(error, DataError) or code_of(error) in _TOO_BIG:
                        raise Unfit(words(error)) from error
                    if not left or not _passing(error):
                        raise
            raise AssertionError("the last attempt returns or raises")

    def dialect(self) -> str:
        """Reach the database once; return its product and version."""

        def version(connection: Connection) -> str:
            dialect = connection.dialect
            product = _PRODUCTS.get(dialect.name, dialect.name)
            if getattr(dialect, "is_mariadb", False):
                product = "MariaDB"
            numbers = [str(each) for each in dialect.server_version_info or ("?",)]
            return f"{product} {'.'.join(numbers[:3])}"

        return self.run(version)

    def close(self) -> None:
        """Let go of every connection."""
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.dispose(close=self._pid == os.getpid())

    def _ready(self) -> Engine:
        """Return an engine of this process, whose database has the tables."""
        with self._lock:
            if self._engine is not None and self._pid != os.getpid():
                # The connections are the parent's: let go of them without a word on the wire.
                self._engine.dispose(close=False)
                self._engine = None
            if self._engine is None:
                engine = self._make()
                try:
                    self._make_tables(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine, self._pid = engine, os.getpid()
            return self._engine

    def _make(self) -> Engine:
        given = dict(self.options.engine)
        if self.options.short_lived:
            given = {name: one for name, one in given.items() if not name.startswith("pool_")}
            given["poolclass"] = NullPool
        engine = make_engine(self.options.url, what="result_backend", options=given)
        if engine.dialect.name in {"mysql", "mariadb"} and "isolation_level" not in given:
            # Under its default level, REPEATABLE READ, what one writes keeps others from inserting
            # beside it, and two of them from ending.
            engine = engine.execution_options(isolation_level="READ COMMITTED")
        return engine

    def _make_tables(self, engine: Engine) -> None:
        for left in reversed(range(ATTEMPTS)):
            try:
                with engine.begin() as connection:
                    self.tables.make(connection)
            except SQLAlchemyError:
                # Race: another process makes the same table. One of the two is told that it is
                # there; it looks again, and finds it.
                if not left:
                    raise
            else:
                return

    def _gone(self) -> ImproperlyConfigured:
        names = " and ".join(self.options.names.values())
        return ImproperlyConfigured(
            f"{self.options.shown} has no tables {names}, or not the schema for them: "
            "create the schema, or grant its user to create tables"
        )


_PRODUCTS = {"postgresql": "PostgreSQL", "mysql": "MySQL", "sqlite": "SQLite"}


def _passing(error: DBAPIError) -> bool:
    """Tell whether the same transaction may well succeed now."""
    lost = error.connection_invalidated
    return lost or isinstance(error, IntegrityError) or code_of(error) in _AGAIN
