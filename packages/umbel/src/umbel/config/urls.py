"""URLs of brokers and result stores: reading them, and printing them without passwords.

Drivers and ``checking`` call this. Nothing is opened here, and no scheme is known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

import msgspec

from umbel.errors import ImproperlyConfigured

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://(.*)", re.DOTALL)
_NEXT_URL = re.compile(r";(?=[A-Za-z][A-Za-z0-9+._-]*://)|;(?=[^;@/]*(?::\d+)?(?:[/;]|$))")
_FIRST_PATHS = frozenset({"sqlite", "file", "filesystem", "memory", "redis+socket", "unix"})
"""Schemes that name a file, not a host: what follows ``://`` is the path."""
_MASK = "**"
_HIGHEST_PORT = 65535


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """One URL, taken apart. User, password and path are percent-decoded.

    ``path`` is what follows the host, without its first slash; for schemes that name a file
    (``sqlite``, ``redis+socket``, ``unix``, ``file``) it is the file: ``sqlite:///a.db`` names
    ``a.db`` and ``sqlite:////a.db`` names ``/a.db``. ``alternatives`` are the other URLs of a list.
    """

    scheme: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: str | None = None
    path: str = ""
    query: Mapping[str, str] = {}
    alternatives: tuple[StoreUrl, ...] = ()
    text: str

    @classmethod
    def parse(cls, text: str, *, what: str = "URL") -> StoreUrl:
        """Read one URL, or several with ``;`` between them.

        ``what`` names the URL in errors. Raises ImproperlyConfigured saying what is wrong; the
        password is never part of the message.
        """
        first, *others = (_parse_one(part, what) for part in split_urls(text))
        if not others:
            return first
        path = next((url.path for url in (first, *others) if url.path), "")
        first = msgspec.structs.replace(first, text=text, path=path)
        shared = tuple(_sharing(first, other) for other in others)
        return msgspec.structs.replace(first, alternatives=shared)

    @property
    def db(self) -> int | None:
        """The database number that the path names, or None when it names none.

        Raises ImproperlyConfigured when the path is not a number.
        """
        number = self.path.strip("/")
        if not number:
            return None
        if not number.isdecimal():
            raise ImproperlyConfigured(
                f"In {self.censored()} the database is {number!r}, which is not a number: "
                "write for example redis://localhost:6379/0."
            )
        return int(number)

    def censored(self) -> str:
        """Return the URL (all of them) with ``**`` in place of passwords."""
        return censored(self.text)


def split_urls(text: str) -> list[str]:
    """Split a list of URLs at its semicolons; a part without a scheme gets that of the first.

    A semicolon that is not followed by another URL or host belongs to the URL before it.
    """
    parts = [part.strip() for part in _NEXT_URL.split(text) if part.strip()]
    if len(parts) < 2:
        return [text.strip()]
    match = _SCHEME.match(parts[0])
    scheme = match[1] if match else ""
    return [part if "://" in part or not scheme else f"{scheme}://{part}" for part in parts]


def censored(text: str) -> str:
    """Return the URL or URLs with ``**`` in place of passwords, readable or not."""
    return ";".join(_censored_one(part) for part in split_urls(text))


def _censored_one(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    # The last @ before the path ends the password; in a wrong URL the password may hold a slash.
    credentials, at, address = rest.rpartition("@")
    if at and ":" in credentials:
        rest = f"{credentials.split(':', 1)[0]}:{_MASK}@{address}"
    rest = re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]+", rf"\1{_MASK}", rest)
    return f"{scheme}://{rest}"


def _sharing(first: StoreUrl, other: StoreUrl) -> StoreUrl:
    # Sentinels and nodes of a cluster are listed with the password and database written once.
    if other.user is None and other.password is None:
        other = msgspec.structs.replace(other, user=first.user, password=first.password)
    return other if other.path else msgspec.structs.replace(other, path=first.path)


def _parse_one(text: str, what: str) -> StoreUrl:
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise ImproperlyConfigured(
            f"The {what} {_censored_one(text)!r} is not a URL: write scheme://host:port/path, "
            "for example redis://localhost:6379/0 or sqlite:///umbel.sqlite3."
        )
    scheme = match[1].lower()
    rest, _, query = match[2].partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if scheme.rpartition("+")[2] in _FIRST_PATHS or scheme in _FIRST_PATHS:
        return _parse_file(text, scheme, rest, options)
    address, _, path = rest.partition("/")
    credentials, at, place = address.rpartition("@")
    user, colon, password = credentials.partition(":")
    host, port = _host_and_port(place, text, what)
    return StoreUrl(
        scheme=scheme,
        host=host,
        port=port,
        user=unquote(user) if at and user else None,
        password=unquote(password) if colon else None,
        path=unquote(path),
        query=options,
        text=text,
    )


def _parse_file(text: str, scheme: str, rest: str, options: dict[str, str]) -> StoreUrl:
    credentials, at, path = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    sockets = {"redis+socket", "unix"}
    path = "/" + path.lstrip("/") if scheme in sockets else path.removeprefix("/")
    return StoreUrl(
        scheme=scheme,
        user=unquote(user) if at and user else None,
        password=unquote(password) if colon else None,
        path=unquote(path),
        query=options,
        text=text,
    )


def _host_and_port(place: str, text: str, what: str) -> tuple[str | None, int | None]:
    if place.startswith("["):
        host, _, after = place[1:].partition("]")
        port = after.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    if not port:
        return unquote(host) or None, None
    if not port.isdecimal() or int(port) > _HIGHEST_PORT:
        hint = (
            " If it is part of the password, write the special characters percent-encoded "
            "('/' as %2F, '@' as %40, ':' as %3A, '#' as %23)."
            if not port.isdecimal()
            else ""
        )
        shown = repr(port) if "@" not in text else "what follows the host"
        raise ImproperlyConfigured(
            f"The {what} {_censored_one(text)} has no valid port: {shown} is not a number "
            f"between 0 and {_HIGHEST_PORT}.{hint}"
        )
    return unquote(host) or None, int(port)
