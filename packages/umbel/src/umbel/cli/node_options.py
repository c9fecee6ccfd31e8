"""The words of ``umbel multi``: which nodes, and with which options. Pure.

``start 3 -c 3 -c:1 10 -Q:2,3 data``: three nodes, each with its own command line. An option with a
colon is for the nodes named after it: by name, by number from 1, several between commas, a range.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from umbel.errors import UsageError

PREFIX = "celery"
_RANGE = re.compile(r"(\d+)-(\d+)\Z")
_SIGNAL = re.compile(r"-([A-Z][A-Z0-9]+)\Z")


class Node(msgspec.Struct, frozen=True):
    """One worker: its full name, ``name@host``, and the options of its own."""

    name: str
    options: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True):
    """What was asked for. ``own``: options of ``multi`` itself; ``signal`` as in ``-KILL``."""

    nodes: tuple[Node, ...]
    own: Mapping[str, str]
    signal: str | None = None
    words: tuple[str, ...] = ()
    """Words before the nodes that the command asked for."""


class _Option(msgspec.Struct, frozen=True):
    name: str
    """With its dashes."""
    value: str | None
    who: str | None
    """After the colon; None: every node."""

    def words(self) -> tuple[str, ...]:
        if self.value is None:
            return (self.name,)
        if self.name.startswith("--"):
            return (f"{self.name}={self.value}",)
        return (self.name, self.value)


def read_plan(
    words: Sequence[str], *, flags: frozenset[str], own: Mapping[str, bool], host: str, leading: int
) -> Plan:
    """Return the plan in these words.

    ``flags``: options of a worker that take no value; ``own``: options of ``multi`` (True: with a
    value); ``host``: what nodes are named after that name none; ``leading``: how many words come
    before the nodes. Raises UsageError.
    """
    names: list[str] = []
    options: list[_Option] = []
    mine: dict[str, str] = {}
    signal: str | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            options += [_Option(each, None, None) for each in rest]
            break
        if not word.startswith("-"):
            names.append(word)
        elif found := _SIGNAL.match(word):
            signal = found[1]
        else:
            option = _option(word, rest, flags, own)
            if option.name in own:
                mine[option.name] = option.value or ""
            else:
                options.append(option)
    first, places = tuple(names[:leading]), names[leading:]
    nodes = _names(places, mine, host)
    return Plan(_with_options(nodes, options), mine, signal, first)


def _option(word: str, rest: list[str], flags: frozenset[str], own: Mapping[str, bool]) -> _Option:
    name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
    name, colon, who = name.partition(":")
    takes = own.get(name, name not in flags)
    given: str | None = value if equals else None
    if given is None and takes and rest and not rest[0].startswith("-"):
        given = rest.pop(0)
    elif not equals and not name.startswith("--") and len(name) > 2 and not colon:
        name, given = name[:2], name[2:]  # -c3
    return _Option(name, given, who if colon else None)


def _names(places: Sequence[str], own: Mapping[str, str], host: str) -> list[str]:
    prefix, suffix = own.get("--prefix", ""), own.get("--suffix", "")
    host = own.get("--hostname") or host
    if len(places) == 1 and places[0].isdigit():
        count, start = int(places[0]), own.get("--range-prefix", PREFIX)
        places = [f"{start}{number}" for number in range(1, count + 1)]
    found: list[str] = []
    for place in places:
        name, at, own_host = place.partition("@")
        where = own_host if at else (suffix.lstrip("@") or host)
        found.append(f"{prefix}{name}@{where}")
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice: each node needs a name of its own.")
    return found


def _with_options(names: Sequence[str], options: Sequence[_Option]) -> tuple[Node, ...]:
    chosen: dict[str, dict[str, _Option]] = {name: {} for name in names}
    for option in options:
        if option.who is None:
            for each in chosen.values():
                each[option.name] = option
    for option in options:
        if option.who is not None:
            for name in _meant(option, names):
                chosen[name][option.name] = option
    return tuple(
        Node(name, tuple(word for option in own.values() for word in option.words()))
        for name, own in chosen.items()
    )


def _meant(option: _Option, names: Sequence[str]) -> list[str]:
    assert option.who is not None
    found: list[str] = []
    for part in option.who.split(","):
        span = _RANGE.match(part)
        if span:
            wanted = [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
        else:
            wanted = [part]
        found += [_one(option, each, names) for each in wanted]
    return found


def _one(option: _Option, which: str, names: Sequence[str]) -> str:
    if which.isdigit() and 1 <= int(which) <= len(names):
        return names[int(which) - 1]
    for name in names:
        if which in (name, name.partition("@")[0]):
            return name
    raise UsageError(
        f"{option.name}:{option.who} is for node {which!r}, and there are {', '.join(names)}: give "
        "a name, or a number from 1."
    )
