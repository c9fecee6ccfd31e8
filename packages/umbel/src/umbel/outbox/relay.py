"""The relay: rows of the outbox to the broker, until it is told to stop.

A worker runs one on a thread of its own (``worker.outbox_keeper``), and ``umbel outbox relay`` in a
process. A row is deleted after the broker confirmed its message; who dies between the two leaves
the row, and the message is sent again under the same id. User code is never imported.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from umbel.config.driver_options import broker_options
from umbel.config.settings import Settings
from umbel.errors import BrokerUnavailable, OutcomeUnknown, UmbelError
from umbel.model.queues import Outgoing
from umbel.outbox.database import OutboxDatabase, Row, Taken
from umbel.outbox.table import unpacked
from umbel.ports import Broker, Publisher

logger = logging.getLogger("umbel.outbox")

BATCH = 200
"""Rows that are taken at once."""
TRY_AGAIN = 60.0
"""Seconds after which a row that the broker refused, or that cannot be read, is tried again."""
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 30.0


class RelayPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay needs to know, as values that can cross between processes. Seconds."""

    url: str
    table: str
    broker_url: str
    broker_options: Mapping[str, Any]
    poll: float
    publish_timeout: float


def relay_plan(settings: Settings) -> RelayPlan | None:
    """Return what the settings say of the outbox; None where there is none."""
    if settings.outbox_url is None:
        return None
    broker_url = settings.broker_write_url or settings.broker_url or ""
    return RelayPlan(
        url=settings.outbox_url,
        table=settings.outbox_table,
        broker_url=broker_url,
        broker_options=broker_options(settings, broker_url),
        poll=settings.outbox_poll_interval,
        publish_timeout=settings.broker_publish_timeout,
    )


def open_outbox(settings: Settings) -> OutboxDatabase | None:
    """Return the outbox of the settings; None where there is none. Raises ImproperlyConfigured."""
    if settings.outbox_url is None:
        return None
    return OutboxDatabase(settings.outbox_url, settings.outbox_table)


class Relay:
    """Sends what is committed. One thread, except ``stop``."""

    def __init__(
        self, database: OutboxDatabase, broker: Broker, *, poll: float, publish_timeout: float
    ) -> None:
        self._database = database
        self._broker = broker
        self._poll = poll
        self._publish_timeout = publish_timeout
        self._publisher: Publisher | None = None
        self._stopping = threading.Event()
        self.sent = 0
        """Messages sent so far."""

    def stop(self) -> None:
        """Make ``run`` return once the batch in hand is sent. Any thread, and signal handlers."""
        self._stopping.set()

    def run(self) -> None:
        """Send what is committed until ``stop``; look every ``poll`` seconds. Never raises.

        What fails is logged once, and tried again with longer and longer pauses.
        """
        delay, said = BACKOFF_FIRST, False
        try:
            while not self._stopping.is_set():
                try:
                    full = self.step() >= BATCH
                except UmbelError as error:
                    level = logging.DEBUG if said else logging.WARNING
                    logger.log(level, "The outbox waits: %s", error)
                except Exception:
                    logger.exception("The relay of the outbox stumbled; it tries again")
                else:
                    if said:
                        logger.info("The outbox is sent again")
                    delay, said = BACKOFF_FIRST, False
                    if not full:
                        self._stopping.wait(self._poll)
                    continue
                said = True
                self._stopping.wait(delay)
                delay = min(BACKOFF_MOST, delay * 2)
        finally:
            self.close()

    def step(self) -> int:
        """Take one batch and send it; return how many rows were taken.

        Raises OperationalError where the database or the broker does not answer: the rows stay.
        """
        now = time.time()
        with self._database.take(BATCH, now) as taken:
            if taken.rows:
                self._send(taken, now)
        self.sent += len(taken.sent)
        return len(taken.rows)

    def close(self) -> None:
        """Let go of the connections."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()
        self._database.close()

    def _send(self, taken: Taken, now: float) -> None:
        readable: list[tuple[Row, Outgoing]] = []
        for row in taken.rows:
            try:
                readable.append((row, unpacked(row.message)))
            except UmbelError as error:
                self._note(taken, row, error, now)
        if not readable:
            return
        try:
            self._publish([outgoing for _, outgoing in readable])
        except (BrokerUnavailable, OutcomeUnknown):
            raise
        except UmbelError as error:
            if len(readable) == 1:
                self._note(taken, readable[0][0], error, now)
                return
            self._send_one_by_one(taken, readable, now)
        else:
            taken.sent.extend(row.seq for row, _ in readable)

    def _send_one_by_one(
        self, taken: Taken, readable: Sequence[tuple[Row, Outgoing]], now: float
    ) -> None:
        """Find which the broker refuses, so that it holds nobody else's up."""
        for row, outgoing in readable:
            try:
                self._publish([outgoing])
            except (BrokerUnavailable, OutcomeUnknown):
                if not taken.sent:
                    raise
                return  # what was sent is deleted; the others are tried again
            except UmbelError as error:
                self._note(taken, row, error, now)
            else:
                taken.sent.append(row.seq)

    def _publish(self, outgoing: Sequence[Outgoing]) -> None:
        if self._publisher is None:
            self._publisher = self._broker.open_publisher()
        self._publisher.publish(outgoing, timeout=self._publish_timeout)

    def _note(self, taken: Taken, row: Row, error: UmbelError, now: float) -> None:
        logger.error(
            "Task %s stays in the outbox and is tried again in %d s: %s",
            row.task_id,
            TRY_AGAIN,
            error,
        )
        taken.faults[row.seq] = (str(error), now + TRY_AGAIN)
