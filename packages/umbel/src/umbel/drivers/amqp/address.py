"""Which broker, which virtual host, and how to talk to it: a URL and options, read once.

Called by ``open`` in this package. Everything wrong with a URL or an option is found here, before
anything is connected. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from umbel.config.urls import StoreUrl
from umbel.drivers.option_reader import OptionReader
from umbel.drivers.tls import Tls, read_tls
from umbel.errors import ImproperlyConfigured

PORT, TLS_PORT = 5672, 5671
LONGEST_HEARTBEAT = 60.0
"""Seconds: what RabbitMQ itself proposes."""

_SETTLED_BY_UMBEL = frozenset(
    # Options of Celery about things that this driver does always, or in another way: accepted, so
    # that a configuration can be shared with Celery processes, and without effect here.
    [
        "confirm_publish",
        "max_retries",
        "interval_start",
        "interval_step",
        "interval_max",
        "interval_max",
        "errback",
        "on_blocked",
        "on_unblocked",
        "client_properties",
        "retry_policy",
        "queue_order_strategy",
        "polling_interval",
        "visibility_timeout",
        "connection_timeout",
        "socket_settings",
        "transport_options",
    ]
)
_QUEUE_TYPES = frozenset({"quorum", "classic"})
_SCALES = frozenset({"umbel", "celery"})


class Endpoint(msgspec.Struct, frozen=True):
    """One node of the broker."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual host and the manners of talking to it. Durations in seconds."""

    url: str
    """As it may be shown: without password."""
    endpoints: tuple[Endpoint, ...]
    """Tried in turn until one answers."""
    username: str = "guest"
    password: str = "guest"  # noqa: S105 - what RabbitMQ is installed with
    external: bool = False
    """Log in by the client's certificate (SASL EXTERNAL) instead of a password."""
    vhost: str = "/"
    tls: Tls | None = None
    connect_timeout: float = 5.0
    socket_timeout: float = 5.0
    """How long a reply may take."""
    heartbeat: float | None = None
    """Of consuming connections; None follows the lease of the worker."""
    delay_queue_type: str = "quorum"
    """Type of the ``celery_delayed_N`` queues; every process on the broker must agree on it."""
    priority_scale: str = "celery"
    """What numbers mean above the driver: ``umbel``, 0 first, or ``celery``, the broker's own."""


def read(url: str, options: Mapping[str, Any]) -> Address:
    """Return what URL and options say. Raises ImproperlyConfigured for anything wrong in them."""
    parsed = StoreUrl.parse(url if "://" in url else f"{url}://", what="RabbitMQ URL")
    shown = parsed.censored()
    given = options.get("ssl")
    merged: dict[str, Any] = {**options, **parsed.query}
    if isinstance(given, Mapping):
        merged = {**given, **merged}
    reader = OptionReader(merged, shown, accepted=_SETTLED_BY_UMBEL)
    address = _address(parsed, reader, shown)
    reader.refuse_unknown()
    return address


def _address(parsed: StoreUrl, reader: OptionReader, shown: str) -> Address:
    secure = parsed.scheme == "amqps"
    tls = read_tls(reader, usual=secure)
    kind = reader.text("native_delayed_delivery_queue_type", "quorum")
    if kind not in _QUEUE_TYPES:
        raise reader.wrong("native_delayed_delivery_queue_type", kind, "'quorum' or 'classic'")
    scale = reader.text("priority_scale", "celery") or "celery"
    if scale not in _SCALES:
        raise reader.wrong("priority_scale", scale, "'umbel' (0 first) or 'celery' (9 first)")
    method = (reader.text("login_method", "PLAIN") or "PLAIN").upper()
    if method not in {"PLAIN", "AMQPLAIN", "EXTERNAL"}:
        raise reader.wrong("login_method", method, "'PLAIN' or 'EXTERNAL'")
    connect = reader.number("connect_timeout", None, least=0.001)
    return Address(
        url=shown,
        endpoints=tuple(
            Endpoint(part.host or "localhost", part.port or (PORT if tls is None else TLS_PORT))
            for part in (parsed, *parsed.alternatives)
        ),
        username=reader.text("userid", parsed.user) or "guest",
        password=_first(reader.text("password", parsed.password), "guest"),
        external=method == "EXTERNAL",
        vhost=_vhost(parsed, reader, shown),
        tls=tls,
        connect_timeout=connect or reader.number("socket_connect_timeout", 5.0, least=0.001) or 5.0,
        socket_timeout=reader.number("socket_timeout", 5.0, least=0.001) or 5.0,
        heartbeat=reader.number("heartbeat", None),
        delay_queue_type=kind,
        priority_scale=scale,
    )


def _first(text: str | None, usual: str) -> str:
    return usual if text is None else text


def _vhost(parsed: StoreUrl, reader: OptionReader, shown: str) -> str:
    vhost = reader.text("virtual_host") or parsed.path or "/"
    if len(vhost.encode()) > 127:
        raise ImproperlyConfigured(
            f"The virtual host in {shown} is longer than the 127 bytes that AMQP allows."
        )
    return vhost
