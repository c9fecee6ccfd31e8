"""Redis Cluster: which slot our keys have, and which node holds it.

Every key of one driver begins with ``global_keyprefix``. Where that holds a hash tag, such as
``{shop}:``, all keys lie in one slot, so every script of ours finds everything it touches on one
node. ``connection`` asks for that node at each connect. Pure; called by ``address`` and
``connection``.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

SLOTS = 16384


def hash_tag(prefix: str) -> str | None:
    """Return what Redis Cluster hashes of a key that begins so, or None where the rest matters."""
    _, opened, rest = prefix.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else None


def slot_of(tag: str) -> int:
    """Return the slot of every key with this hash tag."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


class Node(NamedTuple):
    """One master of a cluster. ``host`` is empty where the node that was asked is meant."""

    host: str
    port: int
    id: bytes


def owner_of(ranges: Sequence[Any], slot: int) -> Node | None:
    """Return the master of a slot, as CLUSTER SLOTS tells it; None where nobody serves the slot."""
    for first, last, master, *_ in ranges:
        if first <= slot <= last:
            return Node((master[0] or b"").decode(), int(master[1]), bytes(master[2]))
    return None
