"""What a worker can tell about its app without asking it: settings, tasks, the broker's address.

Made where the app is (``loading``), once, as plain values; ``worker.answering`` tells them to
whoever asks over remote control.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task

INFO_ITEMS = (
    "acks_late", "bind", "default_retry_delay", "exchange", "expires", "ignore_result",
    "max_retries", "priority", "queue", "rate_limit", "routing_key", "serializer",
    "soft_time_limit", "store_errors_even_if_ignored", "time_limit", "track_started",
)  # fmt: skip
"""Attributes of tasks that callers may ask for."""
_DEEPEST = 6


class WorkerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Plain values only: they cross to the supervisor."""

    settings: Mapping[str, Any] = {}
    """What was set, secrets masked."""
    all_settings: Mapping[str, Any] = {}
    tasks: Mapping[str, Mapping[str, str]] = {}
    """Name -> the attributes that have a value, as text."""
    report: str = ""
    broker: Mapping[str, Any] = {}


def facts_of(app: App, broker_url: str) -> WorkerFacts:
    """Return what can be told about an app."""
    return WorkerFacts(
        settings=plain(app.conf.table(with_defaults=False)),
        all_settings=plain(app.conf.table(with_defaults=True)),
        tasks={name: _info(task) for name, task in sorted(app.tasks.items())},
        report=app.bugreport(),
        broker=broker_of(broker_url),
    )


def _info(task: Task[..., Any]) -> Mapping[str, str]:
    found = {name: getattr(task, name, None) for name in INFO_ITEMS}
    return {name: str(value) for name, value in found.items() if value is not None}


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value made of what JSON has; everything else as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): plain(one, depth + 1) for key, one in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [plain(one, depth + 1) for one in value]
    return str(value)


def broker_of(url: str) -> Mapping[str, Any]:
    """Return the parts of a broker's address that may be shown."""
    first = url.split(";", maxsplit=1)[0]
    parts = urlsplit(first)
    try:
        port = parts.port
    except ValueError:
        port = None
    return {
        "hostname": parts.hostname,
        "userid": unquote(parts.username) if parts.username else None,
        "virtual_host": unquote(parts.path.lstrip("/")) or "/",
        "port": port,
        "ssl": parts.scheme in ("rediss", "amqps", "valkeys"),
        "transport": parts.scheme or first,
        "transport_options": {},
        "uri_prefix": None,
        "alternates": [],
    }
