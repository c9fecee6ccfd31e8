"""From the settings to the names on the bus: which topics, which mailboxes, for how long.

Called by the app, which listens to events and sends commands, and by the worker's loading, so that
both speak of the same things. Plain values come out, which can cross to the supervisor.
"""

from __future__ import annotations

import msgspec

from umbel.config.settings import Settings
from umbel.model.bus import Mailbox, Spread, Topic


class BusNames(msgspec.Struct, frozen=True, kw_only=True):
    """The settings ``event_*`` and ``control_*``, as the bus needs them. Durations in seconds."""

    event_exchange: str = "celeryev"
    event_queue_prefix: str = "celeryev"
    event_queue_ttl: float | None = 5.0
    event_queue_expires: float | None = 60.0
    event_queue_durable: bool = False
    event_queue_exclusive: bool = True
    control_exchange: str = "celery"
    control_queue_ttl: float | None = 300.0
    control_queue_expires: float | None = 10.0
    control_queue_durable: bool = False
    control_queue_exclusive: bool = True

    @property
    def events(self) -> Topic:
        """What workers tell monitors."""
        return Topic(self.event_exchange, Spread.BY_PATTERN)

    @property
    def commands(self) -> Topic:
        """What is said to workers."""
        return Topic(f"{self.control_exchange}.pidbox", Spread.ALL)

    @property
    def replies(self) -> Topic:
        """What they answer."""
        return Topic(f"reply.{self.control_exchange}.pidbox", Spread.BY_KEY)

    def monitor(self, monitor_id: str, binding: str = "#") -> Mailbox:
        """Return the mailbox of one monitor; ``binding`` chooses by the type of events."""
        return Mailbox(
            topic=self.events,
            binding=binding,
            queue=f"{self.event_queue_prefix}.{monitor_id}",
            ttl=self.event_queue_ttl,
            expires=self.event_queue_expires,
            durable=self.event_queue_durable,
            exclusive=self.event_queue_exclusive,
        )

    def node(self, node: str) -> Mailbox:
        """Return the mailbox in which a worker of this name finds commands."""
        return self._controlled(self.commands, "", f"{node}.{self.control_exchange}.pidbox")

    def caller(self, caller_id: str) -> Mailbox:
        """Return the mailbox in which a caller finds replies."""
        queue = f"{caller_id}.reply.{self.control_exchange}.pidbox"
        return self._controlled(self.replies, caller_id, queue)

    def _controlled(self, topic: Topic, binding: str, queue: str) -> Mailbox:
        return Mailbox(
            topic=topic,
            binding=binding,
            queue=queue,
            ttl=self.control_queue_ttl,
            expires=self.control_queue_expires,
            durable=self.control_queue_durable,
            exclusive=self.control_queue_exclusive,
        )


def bus_names(settings: Settings) -> BusNames:
    """Return the names that these settings give."""
    return BusNames(
        **{name: getattr(settings, name) for name in BusNames.__struct_fields__},
    )
