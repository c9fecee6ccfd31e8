"""Remote control as it travels: a command to workers, and the reply of one of them.

The body of a command is a mapping, that of a reply ``{node: reply}``; who waits for replies is
named in the command, and a ticket says which question a reply answers. Celery's clients and workers
read and write the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from umbel.errors import DecodeError
from umbel.model.message import EncodedMessage
from umbel.ports import Serializer
from umbel.wire.serializers import SERIALIZERS

MATCHERS = ("glob", "pcre")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. ``reply_key`` empty: nobody wants a reply."""

    method: str
    arguments: Mapping[str, Any] = {}
    destination: tuple[str, ...] = ()
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_exchange: str = ""
    reply_key: str = ""
    clock: int = 0

    def is_for(self, node: str) -> bool:
        """Tell whether the worker of this name is meant.

        A pattern that cannot be read means nobody: a command must not reach more than was meant.
        """
        if self.destination:
            return node in self.destination
        if self.pattern and self.matcher:
            return matches(self.pattern, self.matcher, node)
        return True


def matches(pattern: str, matcher: str, node: str) -> bool:
    """Tell whether a node's name fits: shell wildcards (``glob``), or a regex from its start."""
    if matcher == "glob":
        return fnmatchcase(node, pattern)
    if matcher == "pcre":
        try:
            return re.match(pattern, node) is not None
        except re.error:
            return False
    return False


def encode_command(
    command: Command, *, serializer: Serializer, expires: float = 0
) -> EncodedMessage:
    """Return a command as it travels. ``expires``: Unix time when the caller stops waiting."""
    body: dict[str, Any] = {
        "method": command.method,
        "arguments": dict(command.arguments),
        "destination": list(command.destination) or None,
        "pattern": command.pattern,
        "matcher": command.matcher,
    }
    if command.reply_key:
        body["ticket"] = command.ticket
        body["reply_to"] = {"exchange": command.reply_exchange, "routing_key": command.reply_key}
    headers = {"clock": command.clock, "expires": expires}
    return _message(headers, body, serializer)


def decode_command(message: EncodedMessage, accept: frozenset[str]) -> Command:
    """Return the command in a message. Raises DecodeError or ContentDisallowed."""
    body = _mapping(message, accept)
    method, arguments = body.get("method"), body.get("arguments") or {}
    if not isinstance(method, str) or not isinstance(arguments, Mapping):
        raise DecodeError(f"not a command: {body!r:.200}")
    reply_to = body.get("reply_to")
    if not isinstance(reply_to, Mapping):
        reply_to = {}
    destination = body.get("destination") or ()
    if isinstance(destination, str):
        destination = (destination,)
    if not isinstance(destination, Sequence):
        raise DecodeError(f"the destination of a command is {destination!r:.100}, not a list")
    clock = message.headers.get("clock")
    return Command(
        method=method,
        arguments={str(name): value for name, value in arguments.items()},
        destination=tuple(map(str, destination)),
        pattern=_text(body.get("pattern")),
        matcher=_text(body.get("matcher")),
        ticket=_text(body.get("ticket")),
        reply_exchange=str(reply_to.get("exchange") or ""),
        reply_key=str(reply_to.get("routing_key") or ""),
        clock=clock if isinstance(clock, int) else 0,
    )


def encode_reply(
    node: str, reply: Any, *, ticket: str | None, clock: int, serializer: Serializer
) -> EncodedMessage:
    """Return what one worker answers. Raises EncodeError."""
    return _message({"ticket": ticket, "clock": clock}, {node: reply}, serializer)


def decode_reply(message: EncodedMessage, accept: frozenset[str]) -> tuple[Any, dict[str, Any]]:
    """Return the ticket and ``{node: reply}``. Raises DecodeError or ContentDisallowed."""
    return message.headers.get("ticket"), _mapping(message, accept)


def _mapping(message: EncodedMessage, accept: frozenset[str]) -> dict[str, Any]:
    body = SERIALIZERS.loads(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        accept=accept,
    )
    if not isinstance(body, dict):
        raise DecodeError(f"a mapping belongs here, and not {body!r:.100}")
    return body


def _message(headers: Mapping[str, Any], body: Any, serializer: Serializer) -> EncodedMessage:
    return EncodedMessage(
        headers=headers,
        properties={"delivery_mode": 1, "priority": 0},
        body=serializer.dumps(body),
        content_type=serializer.content_type,
        content_encoding=serializer.content_encoding,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
