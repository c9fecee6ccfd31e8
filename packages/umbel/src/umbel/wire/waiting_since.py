"""Since when messages wait: from their sending, or from their time where they had to rest for it.

Called by whoever shows how old a queue is. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from umbel.errors import WireError
from umbel.wire import envelope
from umbel.wire.moments import read_timestamp


def waiting_since(raw: bytes) -> datetime | None:
    """Return since when (aware) this message could have been claimed; None where it does not tell.

    Senders in the profile ``umbel`` say when they sent; Celery's do not.
    """
    try:
        peek = envelope.peek(raw)
    except WireError:
        return None
    sent = read_timestamp(peek.timestamp)
    if sent is None or peek.eta is None:
        return sent
    return max(sent, peek.eta)


def oldest(heads: Iterable[bytes]) -> datetime | None:
    """Return since when the one waits that has waited longest."""
    return min((since for since in map(waiting_since, heads) if since is not None), default=None)
