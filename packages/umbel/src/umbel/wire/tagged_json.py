"""JSON as Celery's peers write it: plain JSON, plus tagged objects for a few native types.

An object whose keys are exactly ``__type__`` and ``__value__`` stands for a datetime, date, time,
Decimal, UUID or bytes. Bodies, results and the Redis envelope all use it. There is no escape: user
data of exactly that shape is misread, here as there.

Called by ``serializers``, ``task_v2``, ``envelope`` and ``result_meta``. Two engines share the
work: msgspec where it is exact (it would write a datetime or bytes its own way, and NaN as null),
the standard library's C encoder and decoder for everything else.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from json import encoder as json_encoder
from typing import Any, TypeAlias

import msgspec

from umbel.errors import DecodeError, EncodeError

TagWriter: TypeAlias = Callable[[Any], Any]
TagReader: TypeAlias = Callable[[Any], Any]


def _bytes_tag(value: bytes) -> dict[str, Any]:
    try:
        return {"__type__": "bytes", "__value__": value.decode("utf-8")}
    except UnicodeDecodeError:
        return {"__type__": "base64", "__value__": base64.b64encode(value).decode("ascii")}


def _read_uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(value["hex"] if isinstance(value, Mapping) else value)


# Replaced as a whole on registration, never changed in place: readers need no lock.
_writers: dict[type, tuple[str, TagWriter]] = {
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    Decimal: ("decimal", str),
    uuid.UUID: ("uuid", lambda value: {"hex": value.hex}),
}
_readers: dict[str, TagReader] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": _read_uuid,
    "bytes": lambda value: value.encode("utf-8"),
    "base64": lambda value: base64.b64decode(value.encode("ascii"), validate=True),
}


def register_type(kind: type, tag: str, write: TagWriter, read: TagReader) -> None:
    """Teach the codec one more type, written as ``tag``.

    Both sides need the registration: a Celery peer that does not know the tag drops the message.
    """
    global _writers, _readers  # noqa: PLW0603 - swapped whole so that readers need no lock
    _writers = {**_writers, kind: (tag, write)}
    _readers = {**_readers, tag: read}


def tag(value: Any) -> Any:
    """Return the JSON form of a value that JSON itself does not know. Raises TypeError."""
    own = getattr(value, "__json__", None)
    if own is not None and not isinstance(value, type):
        return own()
    if isinstance(value, bytes):
        return _bytes_tag(value)
    own_kind: type = type(value)
    for kind in own_kind.__mro__:
        found = _writers.get(kind)
        if found is not None:
            return {"__type__": found[0], "__value__": found[1](value)}
    if own_kind.__module__ == "django.utils.functional":
        return str(value)  # a lazily translated string
    raise TypeError(f"{own_kind.__name__} has no JSON form")


def untag(value: dict[str, Any]) -> Any:
    """Return the native value a tagged object stands for; any other object as it is."""
    if len(value) != 2 or "__type__" not in value or "__value__" not in value:
        return value
    name = value["__type__"]
    read = _readers.get(name) if isinstance(name, str) else None
    if read is None:
        raise DecodeError(
            f"the JSON holds a value of type {name!r}, which is not known here; known are "
            f"{', '.join(sorted(_readers))}. If the sender registered a type of its own, register "
            f"it here too"
        )
    try:
        return read(value["__value__"])
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise DecodeError(
            f"the JSON holds {value['__value__']!r} as a {name}, which it is not: {error}"
        ) from error


# --- writing --------------------------------------------------------------------------------------

_EXACT: frozenset[type] = frozenset({str, int, bool, type(None)})
_STR: frozenset[type] = frozenset({str})

dumps_exact = msgspec.json.Encoder().encode
"""Write a value made of nothing but what ``is_exact`` takes, nested or not.

UnicodeEncodeError where it holds half a surrogate pair: then ``dumps`` can.
"""
MSGSPEC_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Everything msgspec raises for bytes it cannot read."""

_msgspec_decode = msgspec.json.Decoder().decode


def _make_chunks() -> Callable[[Any, int], Any]:
    """Return the C encoder behind json.dumps, made once.

    json.dumps makes a new one for each call when it is given a default hook: 1.8 µs against
    1.2 µs for a task body (benchmarks/decisions/codec.py).
    """
    separators = (":", ",")
    make = getattr(json_encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the C accelerator
        plain = json.JSONEncoder(default=tag, separators=(",", ":"), check_circular=False)
        return lambda value, _level: plain.encode(value)
    ascii_strings = json_encoder.encode_basestring_ascii
    chunks: Callable[[Any, int], Any] = make(
        None, tag, ascii_strings, None, *separators, False, False, True
    )
    return chunks


_chunks = _make_chunks()


def is_exact(value: Any) -> bool:
    """Tell whether msgspec writes this value as tagged JSON: a scalar, or flat with text keys."""
    kind = type(value)
    if kind in _EXACT:
        return True
    if kind is tuple or kind is list:
        return _EXACT.issuperset(map(type, value))
    if kind is dict:
        return _STR.issuperset(map(type, value)) and _EXACT.issuperset(map(type, value.values()))
    return False


def dumps(value: Any) -> bytes:
    """Return the tagged JSON of ``value`` as bytes. Raises EncodeError naming value and place."""
    if is_exact(value):
        try:
            return dumps_exact(value)
        except UnicodeEncodeError:
            pass  # a lone surrogate: only the escaping encoder can write it
    try:
        return "".join(_chunks(value, 0)).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(_explain(value, error)) from error


def _explain(value: Any, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the value cannot be written as JSON: it contains itself, or is nested too deep"
    try:
        place, culprit, why = _culprit(value, "") or ("", value, str(error))
    except RecursionError:
        place, culprit, why = "", value, str(error)
    where = f" at {place}" if place else ""
    return f"a {type(culprit).__name__}{where} cannot be written as JSON: {why}"


def _culprit(value: Any, place: str) -> tuple[str, Any, str] | None:
    """Find the first value inside ``value`` that has no JSON form."""
    if isinstance(value, Mapping) and isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int | float | bool | None):
                return f"{place}[{key!r}]", key, "the keys of a JSON object are text"
            found = _culprit(item, f"{place}[{key!r}]")
            if found:
                return found
        return None
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            found = _culprit(item, f"{place}[{index}]")
            if found:
                return found
        return None
    if value is None or isinstance(value, str | int | float):
        return None
    try:
        return _culprit(tag(value), place)
    except Exception as error:  # noqa: BLE001 - a user's __json__ may raise anything
        return place, value, str(error)


# --- reading --------------------------------------------------------------------------------------


def may_hold_tags(data: bytes) -> bool:
    """Tell whether tagged objects can be in this JSON. False is certain.

    A tagged object has both keys, so looking for one is enough; this one is found absent in half
    the time of ``__type__`` (0.25 µs for an envelope), its letters being rarer. Peers write it
    plainly; one that escaped it (``\\u005f``) is found by the second test.
    """
    return b"__value__" in data or (b"\\" in data and b"\\u00" in data)


def loads(data: bytes) -> Any:
    """Return the value of tagged JSON. Raises DecodeError.

    Accepts what Python's own decoder accepts, NaN and Infinity included.
    """
    if not may_hold_tags(data):
        try:
            return _msgspec_decode(data)  # 0.3 µs against 1.7 µs for a task body
        except MSGSPEC_REFUSALS:
            pass  # NaN, half a surrogate pair, UTF-16: or simply wrong. The other one knows.
    try:
        return json.loads(data, object_hook=untag)
    except (ValueError, RecursionError) as error:
        start = data[:40]
        raise DecodeError(f"not valid JSON: {error} (it begins {start!r})") from error
