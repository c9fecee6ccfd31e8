"""The first words on a new connection: HELLO, SELECT, and is the server new enough.

Called by ``connection`` only, which does the talking.
"""

from __future__ import annotations

from typing import Any

from umbel.drivers.redis.address import Address

OLDEST = (6, 2)
"""RPOP with a count, ZADD GT, and whatever else the scripts ask for."""


def greeting(address: Address, db: int) -> list[tuple[str | int, ...]]:
    """Return the commands to begin with: HELLO, with who we are, then the database."""
    hello: list[str | int] = ["HELLO", 3]
    user, password = address.username, address.password
    if address.credentials is not None:
        user, password = address.credentials()
    if password is not None:
        hello += ["AUTH", user or "default", password]
    if address.client_name:
        hello += ["SETNAME", address.client_name]
    commands: list[tuple[str | int, ...]] = [tuple(hello)]
    if db:
        commands.append(("SELECT", db))
    return commands


def facts_of(reply: Any) -> dict[str, Any]:
    """Return what a map of the server says, as texts, whichever form the map has."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {str(_text(name)): _text(value) for name, value in pairs}


def old_version(facts: dict[str, Any]) -> str | None:
    """Return the server's version if that is too old for us, else None."""
    version = str(facts.get("version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return version if numbers < OLDEST else None


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
