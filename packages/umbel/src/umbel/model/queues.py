"""Where messages rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from umbel.model.message import EncodedMessage


class Queue(msgspec.Struct, frozen=True):
    """A queue and how messages reach it.

    ``exchange`` is empty for the default exchange: the message goes straight to the queue by name.
    ``routing_key`` None means the queue's name. ``arguments`` are the broker's own (``x-…``).
    """

    name: str
    exchange: str = ""
    routing_key: str | None = None
    exchange_type: str = "direct"
    max_priority: int | None = None
    arguments: Mapping[str, Any] = {}


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One encoded message, the queue it goes to, and the aware time before which it must rest."""

    message: EncodedMessage
    queue: Queue
    due_at: datetime | None = None


class FollowUp(msgspec.Struct, frozen=True, array_like=True):
    """One message to send because a run ended: an ``Outgoing`` whose message is in its envelope.

    ``raw`` is in the compact form of ``wire.envelope``: headers may hold values that only the wire
    formats can write, so they cross between processes, and rest in stores, as bytes.
    """

    raw: bytes
    queue: Queue
    due_at: datetime | None


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in one queue: waiting to be claimed, claimed, and resting until a later time.

    ``quarantined`` is how many messages are set aside, ``quarantined_since`` when (aware) the
    oldest of them was.

    None is what the broker does not tell.
    """

    name: str
    ready: int
    claimed: int | None
    delayed: int | None
    quarantined: int = 0
    quarantined_since: datetime | None = None
