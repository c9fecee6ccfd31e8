"""The bus of the PostgreSQL driver: a row for each who listens, and one for each notice to each.

``open`` in this package makes it. Nothing is written for a topic that nobody listens to, so events
cost a look at a table while no monitor runs. A notification carries no notice, only the word that
there is one: it may be of any size. A listener says every few seconds that it lives.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence

from umbel.drivers.doorbell import Doorbell
from umbel.drivers.postgres import packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import BROKER, Connection, Rows
from umbel.errors import BrokerUnavailable, OperationalError, WireError
from umbel.model.bus import Mailbox, Notice, Topic, matches
from umbel.ports import Bus, Line
from umbel.wire.envelope import dump_compact, load

logger = logging.getLogger(__name__)

LIFE = 30.0
"""Seconds a listener is taken to live after its last sign."""
SIGN_EVERY = 10.0
MOST_WAITING = 10_000
"""Notices kept for a listener that does not come for them; later ones are dropped."""
AT_ONCE = 1_000
GOODBYE = 2.0
"""Seconds that ``close`` may take."""


class PostgresBus(Bus):
    """Makes lines. Holds no connection itself."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._bells = Bells(address.schema)

    def open_line(self, mailboxes: Sequence[Mailbox] = ()) -> PostgresLine:
        return PostgresLine(self._address, self._bells, mailboxes)

    def close(self) -> None:
        """Nothing to let go of: each line closes its own connection."""


class PostgresLine(Line):
    """One session that hears and tells. One thread at a time, except ``wake``."""

    def __init__(self, address: Address, bells: Bells, mailboxes: Sequence[Mailbox]) -> None:
        self._connection = Connection(address, BROKER)
        self._bells = bells
        self._mailboxes = tuple(mailboxes)
        self._doorbell = Doorbell()
        self._topics: dict[int, Topic] = {}
        """The rows of our mailboxes."""
        self._generation = -1
        self._sign_at = 0.0
        self._look = False
        """Whether there may be notices that were not taken."""

    # --- telling ------------------------------------------------------------------------------

    def tell(self, notices: Sequence[Notice], *, timeout: float) -> int | None:
        if not notices:
            return 0
        deadline = time.monotonic() + timeout
        self._connection.ensure(timeout)
        names = {packing.text_of(each.topic.name, "a topic's name") for each in notices}
        readers = self._connection.run(
            [self._connection.step("mailboxes", topics=sorted(names), most=MOST_WAITING)],
            timeout=self._left(deadline),
        )[0]
        reached = [
            [
                number
                for number, topic, binding in readers
                if topic == notice.topic.name and matches(notice.topic, binding, notice.key)
            ]
            for notice in notices
        ]
        if any(reached):
            self._write(notices, reached, deadline)
        return len(reached[-1])

    def _write(self, notices: Sequence[Notice], reached: list[list[int]], deadline: float) -> None:
        step = self._connection.step
        rows = [
            (mailbox, packing.text_of(notice.key, "the key of a notice"), raw)
            for notice, mailboxes, raw in zip(
                notices, reached, (dump_compact(each.message) for each in notices), strict=True
            )
            for mailbox in mailboxes
        ]
        told = sorted({mailbox for mailbox, _, _ in rows})
        self._connection.run(
            [
                step(
                    "add_notices",
                    mailboxes=[mailbox for mailbox, _, _ in rows],
                    keys=[key for _, key, _ in rows],
                    raws=[raw for _, _, raw in rows],
                ),
                # Heard when this commits, and not before.
                step("tell_all", channels=[self._bells.mailbox(each) for each in told]),
            ],
            timeout=self._left(deadline),
        )

    def _left(self, deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerUnavailable(
                f"the broker {self._connection.address.url} was reached too late; nothing was told"
            )
        return left

    # --- hearing ------------------------------------------------------------------------------

    def listen(self, timeout: float) -> None:
        connection = self._connection
        connection.ensure(timeout)
        again = connection.generation != self._generation
        now = time.monotonic()
        if not self._mailboxes or not (again or now >= self._sign_at):
            self._generation = connection.generation
            return
        kept: Rows = []
        if self._topics:
            kept = connection.one("keep_mailboxes", ids=list(self._topics), life=LIFE)
        if not self._topics or len(kept) < len(self._topics):
            self._enter(kept)
            again = True
        if again:
            channels = [self._bells.mailbox(number) for number in self._topics]
            connection.run([connection.listen(channel) for channel in channels])
            self._look = True
        self._generation = connection.generation
        self._sign_at = now + SIGN_EVERY

    def _enter(self, kept: Rows) -> None:
        """Write our mailboxes down, and take those of the dead away."""
        connection = self._connection
        rows = connection.run(
            [
                connection.step("drop_dead_mailboxes"),
                connection.step("drop_mailboxes", ids=[number for (number,) in kept]),
                *(
                    connection.step(
                        "add_mailbox",
                        topic=packing.text_of(each.topic.name, "a topic's name"),
                        binding=packing.text_of(each.binding, "the binding of a mailbox"),
                        life=LIFE,
                    )
                    for each in self._mailboxes
                ),
            ]
        )[2:]
        self._topics = {
            row[0]: each.topic for ((row,), each) in zip(rows, self._mailboxes, strict=True)
        }

    def receive(self, timeout: float) -> Sequence[Notice]:
        deadline = time.monotonic() + timeout
        connection = self._connection
        while True:
            self.listen(connection.address.timeout)
            connection.listen_now()
            self._look = self._look or bool(connection.heard)
            connection.heard.clear()
            heard = self._take() if self._look and self._topics else []
            now = time.monotonic()
            if heard or self._doorbell.answer() or now >= deadline:
                return heard
            until = min(deadline, self._sign_at) if self._mailboxes else deadline
            self._doorbell.wait(connection, max(0.0, until - now))

    def _take(self) -> list[Notice]:
        rows = self._connection.one("take_notices", ids=list(self._topics), limit=AT_ONCE)
        self._look = len(rows) >= AT_ONCE
        heard: list[Notice] = []
        for mailbox, _, key, raw in sorted(rows, key=lambda row: row[1]):
            topic = self._topics[mailbox]
            try:
                heard.append(Notice(topic, key, load(bytes(raw))))
            except WireError as error:
                logger.warning("What was told on %s cannot be read: %s", topic.name, error)
        return heard

    def wake(self) -> None:
        self._doorbell.ring()

    def close(self) -> None:
        topics, self._topics = self._topics, {}
        if topics and self._connection.connected:
            # If it cannot be written now, the sign of life runs out by itself.
            step = self._connection.step("drop_mailboxes", ids=list(topics))
            with contextlib.suppress(OperationalError):
                self._connection.run([step], timeout=GOODBYE)
        self._connection.close()
        self._doorbell.close()
