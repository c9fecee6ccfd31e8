"""Which server, which database, and how to talk to it: a URL and options, read once.

Called by ``open`` in this package. Everything wrong with a URL or an option is found here, before
anything is connected. Opens nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from umbel.config.urls import StoreUrl
from umbel.errors import ImproperlyConfigured

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
_HIGHEST_PRIORITY = 9
_TLS_SCHEMES = frozenset({"rediss", "valkeys"})
_SOCKET_SCHEMES = frozenset({"redis+socket", "valkey+socket", "unix"})
_MODES: Mapping[str, str] = {
    "required": "required",
    "cert_required": "required",
    "optional": "optional",
    "cert_optional": "optional",
    "none": "none",
    "cert_none": "none",
}

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


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is checked and who we are. Without a word said, the server must be genuine."""

    verify: str = "required"
    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = None
    check_hostname: bool | None = None


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


class _Reader:
    """Takes options out of one mapping, remembers which, and complains in full sentences."""

    def __init__(self, options: Mapping[str, Any], url: str) -> None:
        self._options = options
        self._url = url
        self._known: set[str] = set(_SETTLED_BY_UMBEL)

    def raw(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        value = self._options.get(name)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.raw(name, default)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, value, "a text")

    def number(self, name: str, default: float | None, *, least: float = 0.0) -> float | None:
        value = self.raw(name, default)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.wrong(name, value, "a number") from None
        if not number >= least or isinstance(value, bool):
            raise self.wrong(name, value, f"a number of at least {least:g}")
        return number

    def flag(self, name: str, default: bool | None) -> bool | None:
        value = self.raw(name, default)
        if isinstance(value, bool) or value is None:
            return value
        word = str(value).lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off"}:
            return False
        raise self.wrong(name, value, "true or false")

    def wrong(self, name: str, value: object, wanted: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"The option {name!r} for {self._url} must be {wanted}, not {value!r}."
        )

    def refuse_unknown(self) -> None:
        unknown = sorted(set(self._options) - self._known)
        if not unknown:
            return
        near = difflib.get_close_matches(unknown[0], sorted(self._known), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ImproperlyConfigured(
            f"{', '.join(map(repr, unknown))}: no such option for {self._url}.{hint}"
        )


def read(url: str, options: Mapping[str, Any]) -> Options:
    """Return what URL and options say. Raises ImproperlyConfigured for anything wrong in them."""
    parsed = StoreUrl.parse(url if "://" in url else f"{url}://", what="Redis URL")
    shown = parsed.censored()
    ssl_of_option = options.get("ssl")
    merged: dict[str, Any] = {**options, **parsed.query}
    if isinstance(ssl_of_option, Mapping):
        merged = {**ssl_of_option, **merged}
    reader = _Reader(merged, shown)
    result = Options(
        address=_address(parsed, reader, shown),
        keys=_key_options(reader),
        visibility_timeout=_required(reader.number("visibility_timeout", 3600.0)),
        unacked_restore_limit=_whole(reader.number("unacked_restore_limit", None)),
        polling_interval=reader.number("polling_interval", None, least=0.001),
    )
    reader.refuse_unknown()
    return result


def _address(parsed: StoreUrl, reader: _Reader, shown: str) -> Address:
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
        tls=_tls(parsed, reader),
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


def _database(parsed: StoreUrl, reader: _Reader, shown: str) -> int:
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
    endpoints: tuple[Endpoint, ...], reader: _Reader, shown: str, *, by_sentinel: bool
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


def _tls(parsed: StoreUrl, reader: _Reader) -> Tls | None:
    wanted = reader.raw("ssl", parsed.scheme in _TLS_SCHEMES)
    mode = reader.raw("ssl_cert_reqs", "required")
    # Python's own constants come in from configurations written for redis-py: 0, 1, 2.
    word = {0: "none", 1: "optional", 2: "required"}.get(mode) if isinstance(mode, int) else None
    verify = word or _MODES.get(str(mode).rpartition(".")[2].lower())
    if verify is None:
        raise reader.wrong("ssl_cert_reqs", mode, "'required', 'optional' or 'none'")
    tls = Tls(
        verify=verify,
        ca_certs=reader.text("ssl_ca_certs"),
        ca_path=reader.text("ssl_ca_path"),
        certfile=reader.text("ssl_certfile"),
        keyfile=reader.text("ssl_keyfile"),
        keyfile_password=reader.text("ssl_password"),
        check_hostname=reader.flag("ssl_check_hostname", None),
    )
    return tls if wanted else None


def _credentials(reader: _Reader) -> Callable[[], tuple[str | None, str | None]] | None:
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


def _imported(path: str, reader: _Reader) -> Any:
    import importlib  # noqa: PLC0415 - only for this rare option

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise reader.wrong("credential_provider", path, f"importable ({error})") from error
    return found() if isinstance(found, type) else found


def _key_options(reader: _Reader) -> KeyOptions:
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
