"""What an app has sent, read back from its in-memory broker as a worker would read it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from umbel.app.app import App
from umbel.model.delivery import Ack, Settlement
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.model.presence import Presence
from umbel.wire import envelope


class Sent(msgspec.Struct):
    """One message as it lay in its queue."""

    queue: str
    encoded: EncodedMessage
    message: TaskMessage

    @property
    def headers(self) -> Any:
        return self.encoded.headers

    @property
    def properties(self) -> Any:
        return self.encoded.properties


def take(app: App, *queues: str) -> Sequence[Sent]:
    """Claim and acknowledge everything that is ready in these queues (the default one if none)."""
    names = queues or ("celery",)
    presence = Presence(
        owner="reader",
        name="reader@test",
        pid=1,
        pool="solo",
        concurrency=1,
        queues=names,
        version="0",
        started=time.time(),
    )
    declared = [app.router.named(name) for name in names]
    app.broker.declare(declared)
    consumer = app.broker.open_consumer(declared, presence=presence, lease=15.0)
    try:
        deliveries = consumer.exchange([], 1000).deliveries
        consumer.exchange([Settlement(one.receipt, Ack()) for one in deliveries], 0)
        found = []
        for one in deliveries:
            encoded = envelope.load(one.raw)
            found.append(Sent(one.queue, encoded, app.decode(encoded)))
        return found
    finally:
        consumer.close()


def take_one(app: App, *queues: str) -> Sent:
    """Return the only message there is."""
    found = take(app, *queues)
    assert len(found) == 1, found
    return found[0]


def waiting(app: App, queue: str = "celery") -> tuple[int, int]:
    """Return how many messages are ready, and how many rest until later."""
    stats = app.broker.stats([queue])[0]
    return stats.ready, stats.delayed
