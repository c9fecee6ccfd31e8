"""Whose transaction was handed over, and how to run a statement in it.

Called by what writes in a transaction of the caller's: the PostgreSQL driver for its own tables,
``umbel.outbox`` for the outbox. Imports none of the libraries: what is handed over tells whose it
is. Commits nothing and opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, TypeAlias

import msgspec

from umbel.errors import InvalidOption

Execute: TypeAlias = Callable[[str, Mapping[str, Any]], None]

_NAMED = re.compile(r"%\((\w+)\)s")
_BY_CURSOR = {
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "sqlite3": "sqlite",
    "pymysql": "mysql",
    "MySQLdb": "mysql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
"""Package of a connection of the DB-API -> the database that it talks to."""
_ASYNCHRONOUS = frozenset({"aiomysql", "aiosqlite", "asyncmy", "asyncpg"})
_WANTED = {
    "postgresql": "psycopg or psycopg2",
    "sqlite": "sqlite3",
    "mysql": "PyMySQL, mysqlclient, mysql-connector-python or mariadb",
}


class Enlisted(msgspec.Struct, frozen=True):
    """A transaction that statements can be run in.

    ``database`` is ``postgresql``, ``mysql`` (MariaDB too), ``sqlite``, or another name that
    SQLAlchemy or Django has. ``whose`` names the library. ``execute`` takes a statement with
    parameters such as ``%(name)s``, and their values.
    """

    database: str
    whose: str
    execute: Execute


def enlist(transaction: Any, databases: tuple[str, ...]) -> Enlisted:
    """Return how to take part in it. Raises InvalidOption where it is nothing known.

    ``databases`` are those that the message could go to; they decide what the error names, not
    what is returned: an ``Enlisted`` of another database is for the caller to refuse.
    """
    kind = type(transaction)
    family = {base.__module__.partition(".")[0] for base in kind.__mro__}
    if hasattr(transaction, "sync_session") or hasattr(transaction, "sync_connection"):
        raise InvalidOption(
            f"a {kind.__name__} of SQLAlchemy is asynchronous; write: "
            "await session.run_sync(lambda sync: task.delay_tx(sync, ...))"
        )
    if "sqlalchemy" in family:
        return _of_sqlalchemy(transaction, databases)
    asynchronous = family & _ASYNCHRONOUS
    if "psycopg" in family and kind.__name__.startswith("Async"):
        asynchronous = {"psycopg"}
    if asynchronous:
        raise InvalidOption(
            f"delay_tx takes no asynchronous connection of {min(asynchronous)}; SQLAlchemy's "
            "AsyncSession can be used by run_sync"
        )
    vendor = getattr(transaction, "vendor", None)  # Django's; a proxy may stand before it
    if isinstance(vendor, str):
        return Enlisted(vendor, "Django", _by_cursor(transaction))
    for library in family & set(_BY_CURSOR):
        if hasattr(transaction, "cursor"):
            run = _by_cursor(transaction, named=library == "sqlite3")
            return Enlisted(_BY_CURSOR[library], library, run)
    raise InvalidOption(
        f"a message can be sent in the transaction of {wanted(databases)}, not of "
        f"{kind.__module__}.{kind.__qualname__}"
    )


def wanted(databases: tuple[str, ...]) -> str:
    """Return what may be handed over, in words."""
    libraries = ", ".join(_WANTED[name] for name in databases)
    return (
        f"a connection of {libraries}, a Session or Connection of SQLAlchemy, or a connection "
        "of Django"
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Return the error and what it was raised from, through the wrappers of these libraries."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = getattr(found, "orig", None) or found.__cause__


def _by_cursor(connection: Any, *, named: bool = False) -> Execute:
    """``named``: the library writes parameters as ``:name``."""

    def execute(statement: str, values: Mapping[str, Any]) -> None:
        text = _NAMED.sub(r":\1", statement) if named else statement
        with closing(connection.cursor()) as cursor:
            cursor.execute(text, dict(values))

    return execute


def _of_sqlalchemy(transaction: Any, databases: tuple[str, ...]) -> Enlisted:
    from sqlalchemy import text  # noqa: PLC0415 - there, for its object is in our hands

    if not hasattr(transaction, "execute"):
        raise InvalidOption(
            f"a message can be sent in the transaction of {wanted(databases)}; a "
            f"{type(transaction).__name__} of SQLAlchemy has none"
        )
    bind = transaction.get_bind() if hasattr(transaction, "get_bind") else transaction

    def execute(statement: str, values: Mapping[str, Any]) -> None:
        transaction.execute(text(_NAMED.sub(r":\1", statement)), dict(values)).close()

    name = str(bind.dialect.name)
    return Enlisted("mysql" if name == "mariadb" else name, "SQLAlchemy", execute)
