"""From a database URL to an engine of SQLAlchemy, and from its errors to ours.

Called by the ``db+`` driver and by ``umbel.outbox``, both of which speak with databases of several
makers. Opens no connection. Why SQLAlchemy: docs/design/0022-other-peoples-databases.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from umbel.config.urls import censored
from umbel.drivers.callers_transaction import causes
from umbel.errors import ImproperlyConfigured, OperationalError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

CONNECT_TIMEOUT = 5
"""Seconds."""
ANSWER_TIMEOUT = 10
"""Seconds that an answer may take, where the database's library has such a limit."""

_DRIVERS: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("psycopg", "psycopg2"),
    "mysql": ("MySQLdb", "pymysql"),
    "mariadb": ("MySQLdb", "pymysql", "mariadb"),
}
"""Which module is taken where the URL names none, the first that is installed."""
_NAMES = {"MySQLdb": "mysqldb", "mariadb": "mariadbconnector"}
_DISTRIBUTIONS = {"MySQLdb": "mysqlclient", "psycopg": "'psycopg[binary]'", "_mysql": "mysqlclient"}

_MISSING_TABLE = frozenset({"42P01", "3F000", 1146, 1051})
_FORBIDDEN = frozenset({"42501", 1044, 1142, 1143, 1227})
_WRONG_PLACE = frozenset({"28000", "28P01", "3D000", 1045, 1049, 1698})
"""Codes of PostgreSQL, and of MySQL and MariaDB: credentials, or a database that is not there."""


def make_engine(url: str, *, what: str, options: Mapping[str, Any] | None = None) -> Engine:
    """Return an engine for ``url``, a URL of SQLAlchemy's; ``options`` are ``create_engine``'s.

    ``what`` names the setting in errors. Where the URL names no library (``postgresql://``) the
    first one that is installed is taken. Raises ImproperlyConfigured.
    """
    try:
        import sqlalchemy.exc  # noqa: PLC0415 - a tenth of a second that others need not spend
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(
            f"{what} needs the Python package 'sqlalchemy', which is not installed; "
            "run: pip install 'umbel[sqlalchemy]'"
        ) from error
    shown = censored(url)
    try:
        parsed = _with_driver(sqlalchemy.make_url(url))
        arguments = {"connect_args": _connect_args(parsed), "pool_pre_ping": True}
        return sqlalchemy.create_engine(parsed, **(arguments | dict(options or {})))
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise ImproperlyConfigured(
            f"{what} is {shown}, and SQLAlchemy knows no such database: write for example "
            "postgresql+psycopg://user@host/database, mysql+pymysql://... or sqlite:///file"
        ) from error
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        package = _DISTRIBUTIONS.get(module, module)
        raise ImproperlyConfigured(
            f"{what} is {shown}, which needs the Python package {module!r}, which is not "
            f"installed; run: pip install {package}"
        ) from error
    except (sqlalchemy.exc.ArgumentError, ValueError, TypeError) as error:
        raise ImproperlyConfigured(
            f"{what} is {shown}, which SQLAlchemy does not take ({words(error)})"
        ) from error


def _with_driver(url: URL) -> URL:
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    known = _DRIVERS.get(url.drivername, ())
    found = next((each for each in known if importlib.util.find_spec(each) is not None), None)
    if found is None:
        return url
    return url.set(drivername=f"{url.drivername}+{_NAMES.get(found, found)}")


def _connect_args(url: URL) -> dict[str, Any]:
    """Limits on waiting, except those that the URL names itself."""
    library = url.get_driver_name()
    limits: dict[str, Any] = {}
    if library in {"psycopg", "psycopg2"}:
        limits = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": ANSWER_TIMEOUT * 1000}
    elif library in {"pymysql", "mysqldb"}:
        limits = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": ANSWER_TIMEOUT,
            "write_timeout": ANSWER_TIMEOUT,
        }
    elif library == "pysqlite":
        limits = {"timeout": ANSWER_TIMEOUT}
    return {name: value for name, value in limits.items() if name not in url.query}


# --- errors ---------------------------------------------------------------------------------------


@contextmanager
def translated(
    url: str,
    away: Callable[[str], OperationalError],
    *,
    missing: Callable[[], ImproperlyConfigured],
) -> Iterator[None]:
    """Turn what SQLAlchemy raises in the block into our errors, one sentence each.

    ``url`` is censored already. ``away`` makes the error of a database that does not answer;
    ``missing`` that of tables which are not there.
    """
    import sqlalchemy.exc  # noqa: PLC0415 - as above

    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        code = code_of(error)
        if is_missing_table(error):
            raise missing() from error
        if code in _FORBIDDEN:
            raise ImproperlyConfigured(
                f"{url}: its user may not do what Umbel must ({words(error)})"
            ) from error
        if code in _WRONG_PLACE:
            raise ImproperlyConfigured(f"{url} was refused ({words(error)})") from error
        raise away(f"{url} does not answer ({words(error)})") from error


def is_missing_table(error: BaseException) -> bool:
    """Whether the statement failed because a table, or its schema, is not there."""
    return any(
        _own_code(each) in _MISSING_TABLE or "no such table" in str(each) for each in causes(error)
    )


def code_of(error: BaseException) -> str | int | None:
    """Return the SQLSTATE of PostgreSQL, or the number of MySQL's error, or None."""
    codes = (_own_code(each) for each in causes(error))
    found = next((code for code in codes if code is not None), None)
    if found is None:  # psycopg tells no code of a failed connection, but the server's words
        text = str(error)
        if "authentication failed" in text or "no password supplied" in text:
            return "28P01"
        if "does not exist" in text and "FATAL" in text:
            return "3D000"
    return found


def _own_code(error: BaseException) -> str | int | None:
    first = error.args[0] if error.args else None
    if isinstance(first, int):  # before the state, which PyMySQL tells too
        return first
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def words(error: BaseException) -> str:
    """Return what the database said, on one line."""
    inner = getattr(error, "orig", None) or error
    told = inner.args[1] if len(inner.args) > 1 and isinstance(inner.args[0], int) else str(inner)
    return " ".join(str(told).split()) or type(inner).__name__
