"""Arguments as text for people: short, bounded, never failing.

They travel in the headers ``argsrepr`` and ``kwargsrepr`` and appear in logs and monitors. The form
is Celery's: tuples, lists and dicts as Python writes them, text in single quotes with only that
quote escaped, deeper levels as ``...``.
"""

from __future__ import annotations

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
        # or escaped something: 0.5 µs against 2.7 for (1, 2).
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


class _Full(Exception):
    """There is no room left; what follows only closes what is open."""


class _Text:
    """Collects the parts of one repr, up to a length."""

    def __init__(self, maxlen: int, maxlevels: int) -> None:
        self.parts: list[str] = []
        self.room = maxlen
        self.maxlevels = maxlevels
        self.parents: set[int] = set()

    def put(self, part: str) -> None:
        if len(part) > self.room:
            self.parts.append(part[: self.room] + "...")
            raise _Full
        self.parts.append(part)
        self.room -= len(part)

    def value(self, value: Any, level: int) -> None:
        if isinstance(value, str):
            self.quoted(value)
        elif isinstance(value, bytes | bytearray):
            self.put(_binary(bytes(value[: self.room + 1])))
        elif isinstance(value, dict | list | tuple | set | frozenset):
            self.container(value, level)
        else:
            self.put(_other(value))

    def quoted(self, value: str) -> None:
        text = value[: self.room + 1].replace("'", "\\'")
        if len(text) > self.room:
            self.parts.append("'" + text[: self.room] + "...'")
            raise _Full
        self.put("'" + text + "'")

    def container(self, value: Any, level: int) -> None:
        opening, closing = _brackets(value)
        if not value:
            self.put("set()" if type(value) is set else opening + closing)
            return
        if isinstance(value, tuple) and len(value) == 1:
            closing = "," + closing
        if level >= self.maxlevels or id(value) in self.parents:
            self.put(f"{opening}...{closing}")
            return
        self.parents.add(id(value))
        self.put(opening)
        index = 0
        try:
            for index, item in enumerate(value):
                if index:
                    self.put(", ")
                self.value(item, level + 1)
                if isinstance(value, dict):
                    self.put(": ")
                    self.value(value[item], level + 1)
        except _Full:
            self.parts.append(closing if index + 1 == len(value) else ", ..." + closing)
            raise
        self.parents.discard(id(value))
        self.put(closing)


def _bounded(value: Any, maxlen: int, maxlevels: int) -> str:
    text = _Text(maxlen, maxlevels)
    try:
        text.value(value, 0)
    except _Full:
        pass
    except Exception as error:  # noqa: BLE001 - a display must not fail the call it displays
        # A container of the user's own class, whose iteration raised.
        text.parts.append(f"<{type(error).__name__}>")
    return "".join(text.parts)


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, list):
        return "[", "]"
    if isinstance(value, tuple):
        return "(", ")"
    if isinstance(value, frozenset):
        return ("frozenset({", "})") if value else ("frozenset(", ")")
    return "{", "}"


def _binary(value: bytes) -> str:
    try:
        return f"b'{value.decode('utf-8')}'"
    except UnicodeDecodeError:
        return f"b'{value.hex()}'"


def _other(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    return text
