"""From the settings to the options of the drivers: TLS, timeouts and credentials beside the URL.

Called by the app and by the worker's ``loading``, so that a sender, a worker and its supervisor
open a store in one way. What the user wrote into the URL wins (the drivers see to that), then the
transport options, then the settings read here. Plain values come out, which can cross to the
supervisor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from umbel.config.settings import Settings, defaults
from umbel.errors import ImproperlyConfigured

_REDIS = frozenset({"redis", "rediss", "sentinel", "valkey", "valkeys"})
"""Schemes that speak over TCP with a server that may want TLS and credentials."""
_TLS_NAMES = frozenset(
    {"cert_reqs", "ca_certs", "ca_path", "certfile", "keyfile", "password", "check_hostname"}
)
"""Accepted without ``ssl_`` before them too: RabbitMQ's users write them so."""
_MODES = {0: "none", 1: "optional", 2: "required"}
"""The constants of Python's ``ssl``, CERT_NONE and so on."""
_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})
_USUAL = defaults("celery")

_AMQP = frozenset({"amqp", "amqps", "pyamqp", "rpc"})

_BROKER = {"broker_connection_timeout": "socket_connect_timeout"}
_AMQP_BROKER = {
    "broker_connection_timeout": "connect_timeout",
    "broker_heartbeat": "heartbeat",
    "broker_login_method": "login_method",
    "broker_native_delayed_delivery_queue_type": "native_delayed_delivery_queue_type",
}
_BACKEND = {
    "redis_socket_timeout": "socket_timeout",
    "redis_socket_connect_timeout": "socket_connect_timeout",
    "redis_backend_health_check_interval": "health_check_interval",
    "redis_backend_credential_provider": "credential_provider",
    "redis_client_name": "client_name",
}
"""Setting -> option of the driver. One with Celery's default leaves the driver its own."""


def broker_options(settings: Settings, url: str | None) -> dict[str, Any]:
    """Return the options for the broker behind ``url``. Raises ImproperlyConfigured."""
    found: dict[str, Any] = {}
    if _scheme(url) in _REDIS:
        found |= _changed(settings, _BROKER)
        found |= _tls("broker_use_ssl", settings.broker_use_ssl)
    elif _scheme(url) in _AMQP:
        found |= _changed(settings, _AMQP_BROKER)
        found |= _tls("broker_use_ssl", settings.broker_use_ssl)
        if (
            settings.profile == "umbel"
        ):  # one scale on every broker; RabbitMQ's own is the other way
            found["priority_scale"] = "umbel"
    return found | dict(settings.broker_transport_options or {})


def backend_options(settings: Settings, url: Any) -> dict[str, Any]:
    """Return the options for the result store behind ``url``. Raises ImproperlyConfigured."""
    found: dict[str, Any] = {}
    if _scheme(url) in _REDIS:
        found |= _changed(settings, _BACKEND)
        if "@" not in url:
            names = {"username": settings.redis_username, "password": settings.redis_password}
            found |= {name: value for name, value in names.items() if value}
        found |= _tls("redis_backend_use_ssl", settings.redis_backend_use_ssl)
    elif _scheme(url) == "rpc":
        found |= _changed(settings, _AMQP_BROKER)
        found |= _tls("broker_use_ssl", settings.broker_use_ssl)
        found |= {
            "reply_broker": settings.broker_write_url or settings.broker_url,
            "reply_expires": settings.result_expires,
            "reply_persistent": bool(settings.result_persistent),
            "reply_serializer": settings.result_serializer,
        }
    return found | dict(settings.result_backend_transport_options or {})


def _scheme(url: Any) -> str:
    return url.partition(":")[0].lower() if isinstance(url, str) else ""


def _changed(settings: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    pairs = ((option, getattr(settings, name), name) for name, option in names.items())
    return {
        option: _plain(value)
        for option, value, name in pairs
        if value is not None and value != getattr(_USUAL, name)
    }


def _tls(setting: str, value: Any) -> dict[str, Any]:
    """Return the options of the driver for what one of the two settings says."""
    if isinstance(value, str):
        word = value.strip().lower()
        value = True if word in _ON else False if word in _OFF else value
    if value is None or value is False or value == 0:
        return {}
    if value is True or value == 1:
        return {"ssl": True}
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(
            f"{setting} is {value!r}: it takes True, or a mapping such as "
            "{'ssl_cert_reqs': 'required', 'ssl_ca_certs': '/path/to/ca.pem'}."
        )
    found: dict[str, Any] = {"ssl": True}
    for name, one in value.items():
        option = f"ssl_{name}" if name in _TLS_NAMES else str(name)
        found[option] = _mode(one) if option == "ssl_cert_reqs" else _plain(one)
    return found


def _mode(value: Any) -> Any:
    if value is None:
        return "none"
    return _MODES.get(value, value) if isinstance(value, int) else value


def _plain(value: Any) -> Any:
    """Return a path as a text and a class as its dotted name; everything else as it is."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return value
