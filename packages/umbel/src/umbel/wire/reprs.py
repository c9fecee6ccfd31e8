"""Arguments as text for people: short, bounded, never failing.

They travel in the headers ``argsrepr`` and ``kwargsrepr`` and appear in logs and monitors. The form
is Celery's: tuples, lists and dicts as Python writes them, text in single quotes with only that
quote escaped, deeper levels as ``...``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NUMBERS: frozenset[type] = frozenset({int, bool, float, type(None)})
_FLAT: frozenset[type] = _NUMBERS | {str}
_FAST_ITEMS = 16
_FAST_TEXT = 200


def safe_repr(value: Any, maxlen: int = 1024, maxlevels: int = 3) -> str:
    """Return ``value`` as text of about ``maxlen`` characters. Never raises.

    The work is bounded by ``maxlen``, not by the size of the value.
    """
    kind = type(value)
    try:
        # Python's own repr agrees with ours for a small flat value unless it chose other quotes
        # or escaped something: 0.6 µs against 3.5 µs for (1, 2).
        if kind is tuple or kind is list:
            if len(value) <= _FAST_ITEMS and _fast(value):
                text = repr(value)
                if len(text) <= maxlen and "\\" not in text and '"' not in text:
                    return text
        elif kind is dict and len(value) <= _FAST_ITEMS:
            if not value:
                return "{}"
            if _fast(value) and _fast(value.values()):
                text = repr(value)
                if len(text) <= maxlen and "\\" not in text and '"' not in text:
                    return text
    except ValueError:
        pass  # an int of more digits than Python prints
    return _bounded(value, maxlen, maxlevels)


def _fast(values: Any) -> bool:
    kinds = set(map(type, values))
    if not kinds <= _FLAT:
        return False
    if str not in kinds:
        return True
    return all(len(item) <= _FAST_TEXT for item in values if type(item) is str)


def _bounded(value: Any, maxlen: int, maxlevels: int) -> str:
    parts: list[str] = []
    room = maxlen
    for part in _parts(value, 0, maxlevels, maxlen, set()):
        if len(part) > room:
            parts.append(part[:room])
            parts.append("...")
            break
        parts.append(part)
        room -= len(part)
    return "".join(parts)


def _parts(value: Any, level: int, maxlevels: int, maxlen: int, parents: set[int]) -> Iterator[str]:
    if isinstance(value, str):
        yield _text(value, maxlen)
    elif isinstance(value, bytes | bytearray):
        yield _binary(bytes(value[: maxlen + 1]))
    elif isinstance(value, dict | list | tuple | set | frozenset):
        yield from _container(value, level, maxlevels, maxlen, parents)
    else:
        yield _other(value)


def _container(
    value: Any, level: int, maxlevels: int, maxlen: int, parents: set[int]
) -> Iterator[str]:
    opening, closing = _brackets(value)
    if not value:
        yield opening + closing
        return
    if level >= maxlevels or id(value) in parents:
        yield f"{opening}...{closing}"
        return
    parents.add(id(value))
    yield opening
    pairs = isinstance(value, dict)
    for index, item in enumerate(value):
        if index:
            yield ", "
        yield from _parts(item, level + 1, maxlevels, maxlen, parents)
        if pairs:
            yield ": "
            yield from _parts(value[item], level + 1, maxlevels, maxlen, parents)
    yield "," + closing if isinstance(value, tuple) and len(value) == 1 else closing
    parents.discard(id(value))


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, list):
        return "[", "]"
    if isinstance(value, tuple):
        return "(", ")"
    return "{", "}"


def _text(value: str, maxlen: int) -> str:
    return "'" + value[: maxlen + 1].replace("'", "\\'") + "'"


def _binary(value: bytes) -> str:
    try:
        return f"b'{value.decode('utf-8')}'"
    except UnicodeDecodeError:
        return f"b'{value.hex()}'"


def _other(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a display must not fail the call it displays
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
