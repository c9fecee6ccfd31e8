"""What a postgresql:// URL says: which server and database, which schema, how careful to be.

Called when a driver is opened. Connects to nothing. What is not an option of ours goes to libpq,
which knows several hosts, TLS, password files and all the rest.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from umbel.config.urls import censored
from umbel.errors import ImproperlyConfigured

OPTIONS = ("schema", "synchronous_commit", "timeout", "create")
"""Options of ours; all others are libpq's."""
_COMMITS = ("on", "off", "local", "remote_write", "remote_apply")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")

_DEFAULTS: Mapping[str, str] = {
    "application_name": "umbel",
    "connect_timeout": "5",
    # A peer that vanished without a word is noticed after about ten seconds.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class Address(msgspec.Struct, frozen=True):
    """One database, and the schema in it that is ours.

    ``conninfo`` is libpq's form; ``url`` the URL without its password, for messages. ``timeout``:
    seconds that an answer may take. ``create``: make the tables where there are none.
    """

    conninfo: str
    url: str
    database: str
    schema: str = "umbel"
    synchronous_commit: str | None = None
    timeout: float = 10.0
    create: bool = True

    def conninfo_within(self, timeout: float | None) -> str:
        """Return ``conninfo`` with a ``connect_timeout`` that is no longer than this."""
        if timeout is None:
            return self.conninfo
        given = int(conninfo_to_dict(self.conninfo).get("connect_timeout") or 0)
        seconds = max(1, math.ceil(timeout))
        return make_conninfo(self.conninfo, connect_timeout=min(given or seconds, seconds))

    def same_store(self, other: Address) -> bool:
        """Tell whether both name the same tables."""
        return _where(self) == _where(other)


def read(url: str, options: Mapping[str, Any]) -> Address:
    """Return what the URL and the transport options say; the options win.

    Raises ImproperlyConfigured, naming the option or the part that is wrong and never the password.
    """
    parts = urlsplit(url)
    ours: dict[str, Any] = {}
    theirs: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in OPTIONS:
            ours[name] = value
        else:
            theirs.append((name, value))
    for name, value in options.items():
        if name in OPTIONS:
            ours[name] = value
        else:
            theirs = [pair for pair in theirs if pair[0] != name] + [(name, str(value))]
    plain = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(theirs), ""))
    conninfo = _conninfo(plain)
    return Address(
        conninfo=make_conninfo("", **conninfo),
        url=censored(url.partition("?")[0]),
        database=str(conninfo.get("dbname") or conninfo.get("user") or "(the user's own)"),
        schema=_schema(ours.get("schema", "umbel")),
        synchronous_commit=_commit(ours.get("synchronous_commit")),
        timeout=_seconds(ours.get("timeout", 10.0)),
        create=_yes(ours.get("create", True)),
    )


def _conninfo(url: str) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ImproperlyConfigured(_said_of_url(str(error))) from None
    if "," in str(given.get("host", "")):
        # After a failover the former primary may come back read-only, under its old name.
        given.setdefault("target_session_attrs", "read-write")
    return {**_DEFAULTS, **given}


def _said_of_url(said: str) -> str:
    unknown = re.search(r'invalid URI query parameter: "([^"]*)"', said)
    if unknown is None:
        # libpq repeats the URL, which may hold a password, so its words are not passed on.
        return (
            "a PostgreSQL URL looks like postgresql://user:password@host:5432/database; this one "
            "cannot be read: check it for characters that must be percent-encoded"
        )
    name = unknown.group(1)
    known = [*OPTIONS, "sslmode", "sslrootcert", "connect_timeout", "application_name"]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"postgresql:// has no option {name!r}; there are {', '.join(OPTIONS)} and those of libpq, "
        f"such as sslmode{hint}"
    )


def _schema(value: Any) -> str:
    if not isinstance(value, str) or _SCHEMA.fullmatch(value) is None or value.startswith("pg_"):
        raise ImproperlyConfigured(
            "the PostgreSQL option schema is a name of small letters, digits and underscores that "
            f"does not begin with a digit or pg_, not {value!r}"
        )
    return value


def _commit(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value).lower()
    if text not in _COMMITS:
        raise ImproperlyConfigured(
            f"the PostgreSQL option synchronous_commit is one of {', '.join(_COMMITS)}, "
            f"not {value!r}"
        )
    return text


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0.0 < seconds < 86400.0:
        raise ImproperlyConfigured(
            f"the PostgreSQL option timeout is a number of seconds up to 86400, not {value!r}"
        )
    return seconds


def _yes(value: Any) -> bool:
    text = str(value).lower()
    if text in ("yes", "true", "on", "1"):
        return True
    if text in ("no", "false", "off", "0"):
        return False
    raise ImproperlyConfigured(f"the PostgreSQL option create is yes or no, not {value!r}")


def _where(address: Address) -> tuple[object, ...]:
    facts = conninfo_to_dict(address.conninfo)
    names = ("host", "hostaddr", "port", "dbname", "user", "service")
    return (address.schema, *(facts.get(name) for name in names))
