"""What travels on the bus: commands to workers, replies, and events. All of it may be lost."""

from __future__ import annotations

from enum import Enum

import msgspec

from umbel.model.message import EncodedMessage


class Spread(Enum):
    """Who gets what is told under a topic."""

    ALL = "fanout"
    """Every mailbox, whatever the key."""
    BY_PATTERN = "topic"
    """Every mailbox whose binding matches the key: words between dots, ``*`` one, ``#`` any."""
    BY_KEY = "direct"
    """The mailboxes whose binding is the key."""


class Topic(msgspec.Struct, frozen=True):
    """One subject, known by its name to everybody (in AMQP: an exchange)."""

    name: str
    spread: Spread


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to hear.

    ``queue`` names it where the technology keeps what waits. ``ttl``: seconds that a notice waits
    for its reader, where it waits at all; ``expires``: seconds after which the mailbox of a reader
    that vanished is taken away. ``durable`` and ``exclusive`` are for technologies that know them.
    """

    topic: Topic
    binding: str
    queue: str
    ttl: float | None = None
    expires: float | None = None
    durable: bool = False
    exclusive: bool = True


class Notice(msgspec.Struct, frozen=True):
    """One message on the bus. ``key`` is matched with the bindings of the mailboxes."""

    topic: Topic
    key: str
    message: EncodedMessage


def matches(topic: Topic, binding: str, key: str) -> bool:
    """Tell whether a mailbox with this binding gets what is told under this key."""
    match topic.spread:
        case Spread.ALL:
            return True
        case Spread.BY_KEY:
            return binding == key
        case Spread.BY_PATTERN:
            return _fits(binding.split("."), key.split("."))


def _fits(pattern: list[str], words: list[str]) -> bool:
    """AMQP's rule for topic exchanges (0-9-1, section 3.1.3.3)."""
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(_fits(rest, words[start:]) for start in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _fits(rest, words[1:])
