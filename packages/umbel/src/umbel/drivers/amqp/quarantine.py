"""What is set aside: a queue beside each queue, and why in the headers.

Used by ``consumer``. The message is as it came, so that whoever publishes it to its queue again
sends what was sent; the headers that begin with ``x-umbel-`` tell the rest. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from umbel.drivers.amqp.messages import again
from umbel.model.delivery import Quarantine
from umbel.model.message import EncodedMessage

REASON, DETAIL = "x-umbel-reason", "x-umbel-detail"
QUEUE, COUNT = "x-umbel-queue", "x-umbel-count"
WORKER, SET_ASIDE = "x-umbel-worker", "x-umbel-set-aside"
_LONGEST = 2000
"""Characters of a detail: the headers of a message have to fit into one frame."""


def quarantined(
    message: EncodedMessage, verdict: Quarantine, *, queue: str, count: int, worker: str
) -> EncodedMessage:
    """Return the message with why, where from, by whom, when and after how many deliveries."""
    plain = again(message, tried=0)
    headers = {
        **plain.headers,
        REASON: verdict.reason[:_LONGEST],
        DETAIL: (verdict.detail or "")[:_LONGEST],
        QUEUE: queue,
        COUNT: count,
        WORKER: worker,
        SET_ASIDE: datetime.now(UTC).isoformat(),
    }
    return msgspec.structs.replace(plain, headers=headers)
