"""Effects of runs whose message was acknowledged before they began: no claim fences them.

Called by ``intake``, on its thread. In order: what is set aside, follow-ups, records, joins; each
kind is crossed off once it is done, so that what failed is done again and the rest is not. Messages
that may have been sent count as done: what is at most once is not sent a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from umbel.drivers.elsewhere import outgoing_of
from umbel.errors import OutcomeUnknown
from umbel.model.delivery import Effects
from umbel.model.queues import Outgoing
from umbel.model.shelves import Aside
from umbel.ports import Broker, Publisher, ResultBackend

logger = logging.getLogger("umbel.worker")

PUBLISH_TIMEOUT = 5.0


class Unclaimed:
    """Publishes and stores for one intake. One thread."""

    def __init__(self, broker: Broker, backend: ResultBackend | None) -> None:
        self._broker = broker
        self._backend = backend
        self._publisher: Publisher | None = None

    def perform(self, loose: list[Effects]) -> None:
        """Do these; raises OperationalError, and ``loose`` is then what is left to be done."""
        asides = [aside for effects in loose for aside in effects.asides]
        if asides:
            self._set_aside(asides)
            loose[:] = [Effects(each.records, each.outgoing, each.joins) for each in loose]
        outgoing = [each for effects in loose for each in effects.outgoing]
        try:
            self._publish(outgoing)
        except OutcomeUnknown:
            loose[:] = [Effects(each.records, (), each.joins) for each in loose]
            logger.warning(
                "%d messages that follow tasks with early acknowledgement were being sent while"
                " the connection broke; they may be lost",
                len(outgoing),
            )
            raise
        loose[:] = [Effects(each.records, (), each.joins) for each in loose]
        records = [record for effects in loose for record in effects.records]
        if records and self._backend is not None:
            self._backend.store(records)
        loose[:] = [Effects((), (), each.joins) for each in loose if each.joins]
        if self._backend is None:
            return
        while loose:
            self._publish(map(outgoing_of, self._backend.join(loose[0].joins)))
            del loose[0]

    def _set_aside(self, asides: Sequence[Aside]) -> None:
        if self._broker.capabilities.quarantine:
            self._broker.shelves().set_aside(asides)
            return
        for each in asides:
            logger.error(
                "A message from queue %s was acknowledged early and is lost, for this broker keeps"
                " nothing that is set aside without a claim: %s",
                each.queue,
                each.verdict.reason,
            )

    def close(self) -> None:
        """Let go of the publisher, if there was need of one."""
        if self._publisher is not None:
            self._publisher.close()

    def _publish(self, outgoing: Iterable[Outgoing]) -> None:
        batch = list(outgoing)
        if not batch:
            return
        if self._publisher is None:
            self._publisher = self._broker.open_publisher()
        self._publisher.publish(batch, timeout=PUBLISH_TIMEOUT)
