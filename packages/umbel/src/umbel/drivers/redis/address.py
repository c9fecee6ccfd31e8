"""Which server, which database, and how to talk to it: a URL and options, read once.

Called by ``open`` in this package. Everything wrong with a URL or an option is found here, before
anything is connected. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from umbel.config.urls import StoreUrl
from umbel.drivers.option_reader import OptionReader
from umbel.drivers.tls import Tls, read_tls
from umbel.errors import ImproperlyConfigured

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
_HIGHEST_PRIORITY = 9
_TLS_SCHEMES = frozenset({"rediss", "valkeys"})
_SOCKET_SCHEMES = frozenset({"redis+socket", "valkey+socket", "unix"})

_SETTLED_BY_UMBEL = frozenset(
    # Celery's options about things that this driver does in another way or always: accepted, so
    # that a configuration can be shared with Celery processes, and without effect here.
    [
        "unacked_mutex_expire",
        "unacked_restore_interval",
        "unacked_restore_throttle",
        "ack_emulation",
        "fanout_prefix",
        "fanout_patterns",
        "body_encoding",
        "deadletter_queue",
        "retry_on_timeout",
        "max_connections",
        "reauth_check_interval",
        "sentinel_fanout_compat",
        "max_retries",
        "interval_start",
        "interval_step",
        "interval_max",
        "errback",
        "retry_policy",
        "result_chord_ordered",
        "result_chord_join_timeout",
        "confirm_publish",
        "socket_keepalive_options",
        "queue_order_strategy",
        "client_info",
    ]
)


class Endpoint(msgspec.Struct, frozen=True):
    """One place to connect to: a host and port, or the path of a Unix socket."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Sentinels(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask for the master's address, and how."""

    endpoints: tuple[Endpoint, ...]
    master_name: str
    min_other_sentinels: int = 0
    username: str | None = None
    password: str | None = None


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One Redis database and the manners of talking to it. Durations in seconds."""

    url: str
    """As it may be shown: without password."""
    endpoints: tuple[Endpoint, ...] = ()
    """Tried in turn until one answers; with ``sentinels`` empty."""
    sentinels: Sentinels | None = None
    username: str | None = None
    password: str | None = None
    credentials: Callable[[], tuple[str | None, str | None]] | None = None
    """Asked at every connect; wins over ``username`` and ``password``."""
    db: int = 0
    tls: Tls | None = None
    connect_timeout: float = 5.0
    socket_timeout: float = 5.0
    """How long a reply may take."""
    health_check_interval: float = 25.0
    keepalive: bool = True
    client_name: str | None = None

    def same_server(self, other: Address) -> bool:
        """Tell whether one script can serve both: same place, same rights, any database."""
        return (
            self.endpoints == other.endpoints
            and self.sentinels == other.sentinels
            and self.username == other.username
            and self.password == other.password
            and self.credentials == other.credentials
            and (self.tls is None) == (other.tls is None)
        )


class KeyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the names of keys depend on; every process on the queues must agree on it."""

    global_keyprefix: str = ""
    sep: str = "\x06\x16"
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    unacked_key: str = "unacked"
    unacked_index_key: str = "unacked_index"
    unacked_mutex_key: str = "unacked_mutex"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the driver was told."""

    address: Address
    keys: KeyOptions
    visibility_timeout: float = 3600.0
    unacked_restore_limit: int | None = None
    polling_interval: float | None = None


def read(url: str, options: Mapping[str, Any]) -> Options:
    """Return what URL and options say. Raises ImproperlyConfigured for anything wrong in them."""
    parsed = StoreUrl.parse(url if "://" in url else f"{url}://", what="Redis URL")
    shown = parsed.censored()
    ssl_of_option = options.get("ssl")
    merged: dict[str, Any] = {**options, **parsed.query}
    if isinstance(ssl_of_option, Mapping):
        merged = {**ssl_of_option, **merged}
    reader = OptionReader(merged, shown, accepted=_SETTLED_BY_UMBEL)
    result = Options(
        address=_address(parsed, reader, shown),
        keys=_key_options(reader),
        visibility_timeout=_required(reader.number("visibility_timeout", 3600.0)),
        unacked_restore_limit=_whole(reader.number("unacked_restore_limit", None)),
        polling_interval=reader.number("polling_interval", None, least=0.001),
    )
    reader.refuse_unknown()
    return result


def _address(parsed: StoreUrl, reader: OptionReader, shown: str) -> Address:
    by_sentinel = parsed.scheme == "sentinel"
    parts = (parsed, *parsed.alternatives)
    endpoints = tuple(_endpoint(part, shown) for part in parts)
    connect_timeout = _required(reader.number("socket_connect_timeout", 5.0, least=0.001))
    socket_timeout = _required(reader.number("socket_timeout", 5.0, least=0.001))
    return Address(
        url=shown,
        endpoints=() if by_sentinel else endpoints,
        sentinels=_sentinels(endpoints, reader, shown, by_sentinel=by_sentinel),
        username=reader.text("username", parsed.user),
        password=reader.text("password", parsed.password),
        credentials=_credentials(reader),
        db=_database(parsed, reader, shown),
        tls=read_tls(reader, usual=parsed.scheme in _TLS_SCHEMES),
        connect_timeout=connect_timeout,
        socket_timeout=socket_timeout,
        health_check_interval=_required(reader.number("health_check_interval", 25.0)),
        keepalive=reader.flag("socket_keepalive", True) is not False,
        client_name=reader.text("client_name"),
    )


def _endpoint(part: StoreUrl, shown: str) -> Endpoint:
    if part.scheme in _SOCKET_SCHEMES:
        path = part.path if part.path.startswith("/") else f"/{part.path}"
        if path == "/":
            raise ImproperlyConfigured(
                f"{shown} names no socket: write redis+socket:///path/to/redis.sock."
            )
        return Endpoint("", 0, path)
    port = part.port or (SENTINEL_PORT if part.scheme == "sentinel" else DEFAULT_PORT)
    return Endpoint(part.host or "localhost", port)


def _database(parsed: StoreUrl, reader: OptionReader, shown: str) -> int:
    number = reader.number("virtual_host", None)
    if number is None:
        number = reader.number("db", None)
    if number is None and parsed.scheme not in _SOCKET_SCHEMES:
        number = parsed.db
    if number is None:
        return 0
    if number != int(number):
        raise ImproperlyConfigured(f"In {shown} the database {number!r} is not a whole number.")
    return int(number)


def _sentinels(
    endpoints: tuple[Endpoint, ...], reader: OptionReader, shown: str, *, by_sentinel: bool
) -> Sentinels | None:
    master_name = reader.text("master_name")
    others = reader.number("min_other_sentinels", 0.0)
    extra = reader.raw("sentinel_kwargs", {})
    if not by_sentinel:
        return None
    if not master_name:
        raise ImproperlyConfigured(
            f"{shown} needs the transport option 'master_name': the name under which the sentinels "
            "know the master."
        )
    if not isinstance(extra, Mapping) or not set(extra) <= {"username", "password"}:
        raise reader.wrong("sentinel_kwargs", extra, "a mapping with 'username' and 'password'")
    return Sentinels(
        endpoints=endpoints,
        master_name=master_name,
        min_other_sentinels=int(others or 0),
        username=extra.get("username"),
        password=extra.get("password"),
    )


def _credentials(reader: OptionReader) -> Callable[[], tuple[str | None, str | None]] | None:
    provider = reader.raw("credential_provider")
    if provider is None:
        return None
    if isinstance(provider, str):
        provider = _imported(provider, reader)
    get = getattr(provider, "get_credentials", None)
    if get is None:
        raise reader.wrong(
            "credential_provider", provider, "an object with get_credentials(), or its dotted path"
        )

    def ask() -> tuple[str | None, str | None]:
        found = tuple(get())
        return (None, found[0]) if len(found) == 1 else (found[0], found[1])

    return ask


def _imported(path: str, reader: OptionReader) -> Any:
    import importlib  # noqa: PLC0415 - only for this rare option

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise reader.wrong("credential_provider", path, f"importable ({error})") from error
    return found() if isinstance(found, type) else found


def _key_options(reader: OptionReader) -> KeyOptions:
    separator = _filled(reader.text("sep", "\x06\x16"))
    steps = reader.raw("priority_steps", (0, 3, 6, 9))
    if isinstance(steps, str):
        steps = [int(word) if word.strip().isdecimal() else word for word in steps.split(",")]
    numbers = (
        [step for step in steps if isinstance(step, int) and 0 <= step <= _HIGHEST_PRIORITY]
        if isinstance(steps, list | tuple | range)
        else []
    )
    if not numbers or len(numbers) != len(steps):
        raise reader.wrong("priority_steps", steps, "a list of numbers from 0 to 9")
    return KeyOptions(
        global_keyprefix=reader.text("global_keyprefix", "") or "",
        sep=separator,
        priority_steps=tuple(sorted({0, *numbers})),
        unacked_key=_filled(reader.text("unacked_key", "unacked")),
        unacked_index_key=_filled(reader.text("unacked_index_key", "unacked_index")),
        unacked_mutex_key=_filled(reader.text("unacked_mutex_key", "unacked_mutex")),
    )


def _filled(text: str | None) -> str:
    assert text is not None
    return text


def _required(number: float | None) -> float:
    assert number is not None
    return number


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
