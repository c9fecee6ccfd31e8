"""``celery.utils.text``: shortening and joining text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pprint import pformat
from typing import Any


def str_to_list(s: Any) -> Any:
    """Return comma-separated text as a list; anything else as it is."""
    return s.split(",") if isinstance(s, str) else s


def dedent(s: str, sep: str = "\n") -> str:
    """Return text without the indentation that all its lines have."""
    return textwrap.dedent(s).replace("\n", sep) if sep != "\n" else textwrap.dedent(s)


def join(l: Iterable[str], sep: str = "\n") -> str:  # noqa: E741 - Celery's name
    """Return what is not empty, joined."""
    return sep.join(each for each in l if each)


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """Return text that ends with at least ``n`` separators."""
    return s + sep * max(0, n - s.count(sep))


def ensure_newlines(s: str, n: int = 2) -> str:
    """Return text with at least ``n`` newlines."""
    return ensure_sep("\n", s, n)


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Return text with every line indented by so many spaces."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """Return text cut at a word, with a suffix, where it is longer than ``maxlen``."""
    return s if len(s) <= maxlen else s[:maxlen].rsplit(" ", 1)[0] + suffix


def abbr(S: str, max: int, ellipsis: str | bool = "...") -> str:  # noqa: A002, N803 - Celery's names
    """Return text of at most ``max`` characters, what was cut shown by the ellipsis."""
    if len(S) <= max:
        return S
    mark = "..." if ellipsis is True else ellipsis or ""
    return S[: max - len(mark)] + mark


def abbrtask(S: str, max: int) -> str:  # noqa: A002, N803 - Celery's names
    """Return a task's name with its module cut where it is longer than ``max``."""
    if len(S) <= max:
        return S
    module, _, name = S.rpartition(".")
    return f"{abbr(module, max - len(name), False)}[.]{name}"


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """Return a word, with the suffix unless there is one."""
    return text if n == 1 else text + suffix


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """Return a value for people, mappings in lines of their own."""
    if isinstance(value, dict):
        return f"{{{sep} {pformat(value, 4, nl_width, **kw)[1:]}"
    if isinstance(value, tuple):
        return f"{sep}{' ' * 4}{pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


__all__ = [
    "abbr",
    "abbrtask",
    "dedent",
    "ensure_newlines",
    "ensure_sep",
    "indent",
    "join",
    "pluralize",
    "pretty",
    "str_to_list",
    "truncate",
]
