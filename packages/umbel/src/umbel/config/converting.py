"""Turning what was given into what is stored, or saying why it cannot be.

What is accepted follows from the type that a setting's field is written with. ``checking`` calls
``convert``; text from the environment or the command line says so, because there ``none`` and JSON
have a meaning that they do not have in Python code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from operator import index
from typing import Any

import msgspec

from umbel.config.delivery_semantics import SEMANTICS
from umbel.config.settings import PROFILES, Settings


def _written_types() -> dict[str, str]:
    types: dict[str, str] = {}
    for group in reversed(Settings.__mro__):
        types.update(getattr(group, "__annotations__", {}))
    return {name: types[name] for name in Settings.__struct_fields__}


WRITTEN_TYPES: Mapping[str, str] = _written_types()
"""The type of each setting, as it is written at its field."""

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "profile": PROFILES,
    "task_protocol": (1, 2),
    "task_delivery": SEMANTICS,
    "task_default_queue_type": ("classic", "quorum"),
    "task_create_missing_queue_type": ("classic", "quorum"),
    "broker_native_delayed_delivery_queue_type": ("classic", "quorum"),
    "task_default_delivery_mode": (1, 2, "transient", "persistent"),
    "worker_pool_start_method": ("fork", "spawn", "forkserver"),
}
_ZERO_MEANS_NONE = frozenset(
    {
        "result_expires",
        "task_time_limit",
        "task_soft_time_limit",
        "worker_concurrency",
        "worker_max_tasks_per_child",
        "worker_stall_timeout",
        "worker_max_memory_per_child",
        "broker_heartbeat",
        "beat_cron_starting_deadline",
    }
)
_MAY_BE_NEGATIVE = frozenset({"result_cache_max", "broker_connection_max_retries"})
_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
_FALSE = frozenset({"0", "false", "no", "off", "n", "f"})
_NOTHING = frozenset({"none", "null"})


def convert(name: str, value: Any, *, from_text: bool = False) -> Any:
    """Return the value as ``Settings`` stores it. Mappings and lists stay the same objects.

    Raises ValueError whose text continues a sentence that begins with the setting's name.
    """
    kind, optional, _ = WRITTEN_TYPES[name].partition(" | None")
    if from_text and isinstance(value, str):
        value = value.strip()
        if value.lower() in _NOTHING and (optional or kind == "Any"):
            return None
        if kind == "Any" and value[:1] in {"{", "["}:
            value = _json(value)
    if value is None:
        if optional or kind == "Any":
            return None
        if kind == "bool":
            return False
        raise ValueError(f"cannot be None: it takes {_TAKES[kind]}")
    stored = _CONVERTERS[kind](value) if kind != "Any" else value
    return _checked(name, stored, from_text)


def _checked(name: str, stored: Any, from_text: bool) -> Any:
    if name in _CHOICES:
        if from_text and isinstance(stored, str) and stored.isdecimal():
            stored = int(stored)
        if stored not in _CHOICES[name]:
            choices = ", ".join(repr(choice) for choice in _CHOICES[name])
            raise ValueError(f"is {stored!r}; it must be one of {choices}")
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        return stored
    if stored == 0 and name in _ZERO_MEANS_NONE:
        return None
    if stored < 0 and name not in _MAY_BE_NEGATIVE:
        raise ValueError(f"is {stored!r}; it cannot be negative")
    return stored


# --- one function per kind ------------------------------------------------------------------------


def _wrong(kind: str, value: Any) -> ValueError:
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return ValueError(f"is {shown} ({type(value).__name__}); it takes {_TAKES[kind]}")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    elif isinstance(value, int | float) and value in {0, 1}:
        return bool(value)
    raise _wrong("bool", value)


def _int(value: Any) -> int:
    if not isinstance(value, bool):
        try:
            if isinstance(value, str):
                return int(value)
            if not isinstance(value, float):
                return index(value)
            if value.is_integer():
                return int(value)
        except (TypeError, ValueError):
            pass
    raise _wrong("int", value)


def _float(value: Any, kind: str = "float") -> float:
    if not isinstance(value, bool | bytes):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            pass
        else:
            if number == number:  # noqa: PLR0124 - false for NaN only
                return number
    raise _wrong(kind, value)


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return _float(value, "Seconds")


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(part, str) for part in value):
        return ";".join(value)  # a list of URLs
    if hasattr(value, "__fspath__"):
        return str(value)
    if hasattr(value, "_proxy____args"):
        return str(value)  # a lazy translation or setting of Django
    raise _wrong("str", value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise _wrong("bytes", value)


def _octal(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value, 8)
        except ValueError:
            raise _wrong("Octal", value) from None
    return _int(value)


def _int_or_str(value: Any) -> int | str:
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else value
    try:
        return _int(value)
    except ValueError:
        raise _wrong("int | str", value) from None


def _sequence(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        if value[:1] == "[":
            value = _json(value)
        else:
            return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        members: Sequence[Any] = value
    elif isinstance(value, set | frozenset):
        members = sorted(value, key=str)
    else:
        raise _wrong("Sequence[str]", value)
    if not all(isinstance(member, str) for member in members):
        raise _wrong("Sequence[str]", value)
    return members


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = _json(value)
    if isinstance(value, Mapping):
        return value
    raise _wrong("Mapping[str, Any]", value)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"is not valid JSON ({error}): {text[:60]!r}") from None


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "Seconds": _seconds,
    "Octal": _octal,
    "str": _str,
    "bytes": _bytes,
    "int | str": _int_or_str,
    "Sequence[str]": _sequence,
    "Mapping[str, Any]": _mapping,
}
_TAKES: Mapping[str, str] = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "Seconds": "a number of seconds or a timedelta",
    "Octal": "a file mode, as text in base eight such as '022' or as a number",
    "str": "text",
    "bytes": "bytes or text",
    "int | str": "a whole number or text",
    "Sequence[str]": "a list of texts, or one text with commas",
    "Mapping[str, Any]": "a mapping",
}
