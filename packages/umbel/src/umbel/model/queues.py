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


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in one queue: waiting to be claimed, claimed, and resting until a later time."""

    name: str
    ready: int
    claimed: int
    delayed: int
