"""What an sqlite:// URL says: which file, and how careful to be with it.

Called when a driver is opened. Touches no file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from umbel.errors import ImproperlyConfigured

OPTIONS = ("synchronous", "timeout")
SYNCHRONOUS = ("full", "normal", "off")


class Location(msgspec.Struct, frozen=True):
    """One database file.

    ``synchronous``: ``full`` survives power loss, ``normal`` survives the death of any process,
    ``off`` is for throw-away files. ``timeout``: seconds to wait for other writers.
    """

    path: Path
    synchronous: str = "full"
    timeout: float = 5.0


def parse_location(url: str, options: Mapping[str, Any]) -> Location:
    """Return what the URL and the transport options say; the options win.

    ``sqlite:///name`` is relative to the working directory of now, ``sqlite:////name`` absolute.
    Raises ImproperlyConfigured for everything else, naming the option or the part that is wrong.
    """
    parts = urlsplit(url)
    if parts.netloc:
        raise ImproperlyConfigured(
            f"an SQLite URL has three slashes before a relative path and four before an absolute "
            f"one; {parts.netloc!r} after two slashes would be a host. Write sqlite:///"
            f"{unquote(parts.netloc + parts.path)}"
        )
    name = unquote(parts.path[1:])
    if not name or name == ":memory:":
        raise ImproperlyConfigured(
            "an SQLite URL must name a file, because several processes share it: "
            "sqlite:///umbel.sqlite3 for example. For one process alone there is memory://"
        )
    given: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    given.update(options)
    for option in given:
        if option not in OPTIONS:
            near = difflib.get_close_matches(option, OPTIONS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ImproperlyConfigured(
                f"sqlite:// has no option {option!r}; there are {' and '.join(OPTIONS)}{hint}"
            )
    return Location(
        path=Path(name).expanduser().absolute(),
        synchronous=_synchronous(given.get("synchronous", "full")),
        timeout=_timeout(given.get("timeout", 5.0)),
    )


def _synchronous(value: Any) -> str:
    text = str(value).lower()
    if text not in SYNCHRONOUS:
        raise ImproperlyConfigured(
            f"the SQLite option synchronous is one of {', '.join(SYNCHRONOUS)}, not {value!r}"
        )
    return text


def _timeout(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0.0 <= seconds < 86400.0:
        raise ImproperlyConfigured(
            f"the SQLite option timeout is a number of seconds from 0 to 86400, not {value!r}"
        )
    return seconds
