"""Settings for people to read: one described, all of them printed, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from umbel.config.celery_names import OLD_NAMES
from umbel.config.converting import WRITTEN_TYPES
from umbel.config.settings import NAMES, defaults
from umbel.config.urls import censored as censored_url

_SECRET = re.compile(r"api|token|key|secret|pass|signature|credential|database", re.IGNORECASE)
_HARMLESS = frozenset(
    {"task_default_routing_key", "routing_key", "database_create_tables_at_setup"}
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*://")
_MASK = "********"
_GROUPS = frozenset(name.partition("_")[0] for name in NAMES if "_" in name)


class Option(msgspec.Struct, frozen=True):
    """What can be said about one setting without an app."""

    name: str
    group: str
    """The first word of the name, or empty."""
    key: str
    """The rest of the name."""
    type: str
    """What is stored, as a Python type."""
    default: Any
    """Celery's default."""
    umbel_default: Any
    """The default of the profile ``umbel``."""
    old: str | None
    """The name before Celery 4."""


def option_named(name: str, namespace: str = "") -> Option | None:
    """Return the setting of this name, or the one of this name in a group (given, or any)."""
    name = name.lower()
    candidates = [f"{namespace}_{name}", name] if namespace else [name]
    candidates += [f"{group}_{name}" for group in sorted(_GROUPS)]
    found = next((one for one in candidates if one in WRITTEN_TYPES), None)
    return _option(found) if found else None


def _option(name: str) -> Option:
    group, _, key = name.partition("_")
    if not key or group not in _GROUPS:
        group, key = "", name
    return Option(
        name=name,
        group=group,
        key=key,
        type=WRITTEN_TYPES[name].replace("Seconds", "float").replace("Octal", "int"),
        default=getattr(defaults("celery"), name),
        umbel_default=getattr(defaults("umbel"), name),
        old=OLD_NAMES.get(name),
    )


def table_of(values: Mapping[str, Any], censored: bool) -> dict[str, Any]:
    """Return these settings by name; with ``censored``, secrets and passwords in URLs masked."""
    return {name: mask(name, value) if censored else value for name, value in values.items()}


def text_of(values: Mapping[str, Any]) -> str:
    """Return one line for each setting."""
    return "\n".join(f"{name}: {value!r}" for name, value in values.items())


def mask(name: str, value: Any) -> Any:
    """Return the value with what must not be printed replaced by stars, also inside mappings."""
    if value is None or isinstance(value, bool):
        return value
    if name not in _HARMLESS and _SECRET.search(name):
        return _MASK
    if isinstance(value, str):
        return censored_url(value) if _URL.search(value) else value
    if isinstance(value, Mapping):
        return {key: mask(str(key), member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([mask("", member) for member in value]) if _is_plain(value) else value
    return value


def _is_plain(value: list[Any] | tuple[Any, ...]) -> bool:
    return type(value) in {list, tuple}
