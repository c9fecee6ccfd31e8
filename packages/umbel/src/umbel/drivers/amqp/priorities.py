"""From Umbel's scale of priorities to RabbitMQ's, and back: 0 is most urgent here, there the least.

Used where a message becomes AMQP properties (``publisher``) and where it comes out of them
(``claims``), and nowhere else: everything above reads and writes one scale. Pure.

RabbitMQ takes what is beyond a queue's ``x-max-priority`` for that greatest one. On a queue with
fewer steps than the scale has numbers, each number therefore goes to the next step that is more
urgent, as on Redis: with a greatest of 3 the steps are 0, 3, 6 and 9 there too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from umbel.drivers.amqp.topology import arguments_of
from umbel.model.queues import Queue

LEAST_URGENT = 9
"""The far end of the scale; the near one is 0, and a message without a priority has it."""


class Ranks(msgspec.Struct, frozen=True):
    """How the priorities of one queue are written."""

    most: int | None = None
    """The greatest that the queue tells apart; None keeps the broker's own numbers."""

    def sent(self, priority: Any) -> int:
        """Return the number for the wire."""
        given = priority or 0
        if self.most is None:
            return int(given)
        urgency = LEAST_URGENT - min(max(int(given), 0), LEAST_URGENT)
        return -(-urgency * self.most // LEAST_URGENT)

    def received(self, priority: int | None) -> int:
        """Return the number that is shown; None is how senders leave the priority out."""
        given = priority or 0
        if self.most is None:
            return given
        return LEAST_URGENT - min(given * LEAST_URGENT // self.most, LEAST_URGENT)

    def urgency(self, priority: Any) -> int:
        """Return a number that is the greater, the more urgent a message of this priority is."""
        given = priority if isinstance(priority, int) else 0
        return given if self.most is None else -given


AS_THEY_ARE = Ranks()
"""What is no task, and all of the scale ``celery``."""


def ranks_of(queue: Queue, scale: str) -> Ranks:
    """Return how priorities are written on this queue; ``scale`` is ``umbel`` or ``celery``.

    A queue without ``x-max-priority`` counts as one with all steps: a quorum queue has two since
    RabbitMQ 4.0, 5 and more the urgent one, and elsewhere the number is only shown.
    """
    if scale == "celery":
        return AS_THEY_ARE
    most = arguments_of(queue).get("x-max-priority")
    known = isinstance(most, int) and 0 < most < LEAST_URGENT
    return Ranks(most if known else LEAST_URGENT)
