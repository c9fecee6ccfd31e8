"""What PostgreSQL and libpq say when something is wrong, as one clear sentence of ours.

Called by ``connection`` (its own sessions) and ``transactions`` (the caller's). Opens nothing.
"""

from __future__ import annotations

import re

from umbel.drivers.postgres.address import Address

_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"password authentication failed|no password supplied|role .* does not exist",
        "check the user and the password in the URL",
    ),
    (r"database .* does not exist", "create it: createdb {database}"),
    (
        r"no pg_hba\.conf entry",
        "the server's pg_hba.conf allows no such connection: add a line for it there, or "
        "choose another user or sslmode",
    ),
    (
        r"does not support SSL|SSL error|certificate|root\.crt|SSL connection",
        "the sslmode of the URL and the server's TLS do not fit: see sslmode and sslrootcert",
    ),
    (
        r"too many clients|remaining connection slots|too many connections",
        "the server has no connection to spare: raise max_connections or run fewer processes",
    ),
    (
        r"session is read-only|not read-only|hot standby",
        "no host in the URL takes writes: is a failover going on?",
    ),
    (r"starting up|shutting down|recovery mode", "the server is starting or stopping: try again"),
    (r"could not translate host name|Name or service not known", "check the host in the URL"),
    (r"Connection refused|No such file or directory", "is the server running there?"),
)
_WORDS = re.compile(r"(?:FATAL|ERROR|PANIC):\s*(.*)", re.DOTALL)


def words(error: BaseException) -> str:
    """Return what the server or libpq said, in one line."""
    text = str(error)
    if "All failures were:" in text:
        told = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("- host")]
        return "; ".join(dict.fromkeys(_short(line) for line in told))
    return _short(text)


def _short(text: str) -> str:
    said = _WORDS.search(text)
    text = said.group(1) if said is not None else text
    text = re.sub(
        r"^connection (?:failed|to server)[^:]*: (?:connection to server at[^:]*: )?",
        "",
        text.strip(),
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = [line for line in lines if not line.startswith(("Is the server", "DETAIL", "HINT"))]
    return (first or lines or ["no reason given"])[0].rstrip(".")


def not_connected(address: Address, name: str, error: BaseException) -> str:
    """Return the sentence for a connection that could not be made."""
    said = str(error)
    for pattern, advice in _REASONS:
        if re.search(pattern, said):
            what = advice.format(database=address.database)
            return f"the {name} {address.url} cannot be reached ({words(error)}); {what}"
    return f"the {name} {address.url} cannot be reached ({words(error)})"


def tables_missing(address: Address) -> str:
    """Return the sentence for a database without our tables."""
    return (
        f"the database {address.database!r} has no tables of Umbel in the schema "
        f"{address.schema!r}; make them with: umbel migrate"
    )


def not_allowed(address: Address, error: BaseException) -> str:
    """Return the sentence for a user who lacks a right."""
    return (
        f"the user of {address.url} may not do this ({words(error)}); grant it the rights on the "
        f"schema {address.schema!r}, or run umbel migrate as the owner of the tables"
    )


def newer(address: Address, found: int, known: int) -> str:
    """Return the sentence for tables of a release after this one."""
    return (
        f"the tables of Umbel in {address.database!r} (schema {address.schema!r}) were changed by "
        f"a newer release (migration {found}, this one knows {known}); upgrade Umbel here"
    )


def older(address: Address, found: int, needed: int) -> str:
    """Return the sentence for tables of a release before this one."""
    return (
        f"the tables of Umbel in {address.database!r} (schema {address.schema!r}) are of an older "
        f"release (migration {found}, this one needs {needed}); run: umbel migrate"
    )
