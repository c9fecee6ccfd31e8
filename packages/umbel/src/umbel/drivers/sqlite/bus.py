"""The bus of the SQLite driver: a row for each who listens, and one for each notice to each.

Nothing is written for a topic that nobody listens to, so events cost a look at a table while no
monitor runs. A listener says every few seconds that it lives.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from umbel.clock import Clock
from umbel.drivers.sqlite import bells
from umbel.drivers.sqlite.bells import Bell, Interest
from umbel.drivers.sqlite.boot import BOOT
from umbel.drivers.sqlite.connection import Connection, Database
from umbel.drivers.sqlite.location import Location
from umbel.drivers.sqlite.statements import SQL
from umbel.errors import BrokerUnavailable, OperationalError
from umbel.model.bus import Mailbox, Notice, Topic, matches
from umbel.ports import Bus, Line
from umbel.wire.envelope import dump_compact, load

LIFE = 30.0
"""Seconds a listener is taken to live after its last sign."""
SIGN_EVERY = 10.0
MOST_WAITING = 10_000
"""Notices kept for a listener that does not come for them; later ones are dropped."""
AT_ONCE = 1_000


class SqliteBus(Bus):
    """Makes lines. Holds no connection itself."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock

    def open_line(self, mailboxes: Sequence[Mailbox] = ()) -> SqliteLine:
        return SqliteLine(self._location, self._clock, mailboxes)

    def close(self) -> None:
        """Nothing to let go of: each line closes its own connection."""


class SqliteLine(Line):
    """One listener. One thread at a time, except ``wake``."""

    def __init__(self, location: Location, clock: Clock, mailboxes: Sequence[Mailbox]) -> None:
        self._connection = Connection(location, BrokerUnavailable)
        self._path = location.path
        self._clock = clock
        self._mailboxes = tuple(mailboxes)
        self._topics: dict[int, Topic] = {}
        """The rows of our mailboxes."""
        self._sign_at = 0.0
        self._bell: Bell | None = None
        self._woken = False

    # --- telling ------------------------------------------------------------------------------

    def tell(self, notices: Sequence[Notice], *, timeout: float) -> int | None:
        if not notices:
            return 0
        with self._connection.reading() as database:
            reached = self._readers(database, notices)
        if not any(reached):
            return 0
        with self._connection.writing(timeout) as database:
            # Somebody may have come or gone in between.
            reached = self._readers(database, notices)
            rows = [
                (mailbox, mailbox, notice.key, dump_compact(notice.message))
                for notice, mailboxes in zip(notices, reached, strict=True)
                for mailbox in mailboxes
            ]
            database.executemany(SQL["add_notice"], rows)
        bells.ring(self._path, Interest.NOTICES)
        return len(reached[-1])

    def _readers(self, database: Database, notices: Sequence[Notice]) -> list[list[int]]:
        """Return the mailboxes that get each of these."""
        now = self._clock.monotonic()
        bindings: dict[str, list[tuple[int, str]]] = {}
        for notice in notices:
            name = notice.topic.name
            if name not in bindings:
                rows = database.execute(SQL["mailboxes"], (name, BOOT, now)).fetchall()
                bindings[name] = [row for row in rows if self._has_room(database, row[0])]
        return [
            [
                number
                for number, binding in bindings[notice.topic.name]
                if matches(notice.topic, binding, notice.key)
            ]
            for notice in notices
        ]

    def _has_room(self, database: Database, mailbox: int) -> bool:
        return bool(database.execute(SQL["count_notices"], (mailbox,)).fetchone()[0] < MOST_WAITING)

    # --- hearing ------------------------------------------------------------------------------

    def listen(self, timeout: float) -> None:
        now = self._clock.monotonic()
        if not self._mailboxes or (self._topics and now < self._sign_at):
            return
        if self._bell is None:
            self._bell = Bell(self._path, Interest.NOTICES)
        with self._connection.writing(timeout) as database:
            kept = [
                database.execute(SQL["keep_mailbox"], (now + LIFE, number)).rowcount
                for number in self._topics
            ]
            if not kept or not all(kept):
                self._enter(database, now)
        self._sign_at = now + SIGN_EVERY

    def _enter(self, database: Database, now: float) -> None:
        """Write our mailboxes down, and take those of the dead away."""
        dead = database.execute(SQL["drop_dead_mailboxes"], (BOOT, now)).fetchall()
        database.executemany(SQL["drop_notices"], dead)
        self._drop(database)
        for mailbox in self._mailboxes:
            row = (mailbox.topic.name, mailbox.binding, BOOT, now + LIFE)
            (number,) = database.execute(SQL["add_mailbox"], row).fetchone()
            self._topics[number] = mailbox.topic

    def _drop(self, database: Database) -> None:
        for number in self._topics:
            database.execute(SQL["drop_mailbox"], (number,))
            database.execute(SQL["drop_notices"], (number,))
        self._topics = {}

    def receive(self, timeout: float) -> Sequence[Notice]:
        deadline = time.monotonic() + timeout
        while True:
            self.listen(self._connection.location.timeout)
            heard = self._take()
            woken, self._woken = self._woken, False
            left = deadline - time.monotonic()
            if heard or woken or left <= 0:
                return heard
            if self._bell is None:  # nothing to hear: only ``wake`` and the time end this
                self._bell = Bell(self._path, Interest.NOTICES)
            self._bell.wait(min(left, self._bell.patience))

    def _take(self) -> list[Notice]:
        rows: list[tuple[int, int, str, bytes]] = []
        with self._connection.reading() as database:
            for number in self._topics:
                found = database.execute(SQL["notices"], (number, AT_ONCE)).fetchall()
                rows += [(number, *row) for row in found]
        if not rows:
            return []
        last = {number: place for number, place, _, _ in rows}
        with self._connection.writing() as database:
            database.executemany(SQL["drop_notices_up_to"], list(last.items()))
        return [Notice(self._topics[number], key, load(raw)) for number, _, key, raw in rows]

    def wake(self) -> None:
        self._woken = True
        if self._bell is not None:
            self._bell.wake()

    def close(self) -> None:
        if self._topics:
            # If the file cannot be written now, the sign of life runs out by itself.
            with contextlib.suppress(OperationalError), self._connection.writing() as database:
                self._drop(database)
        if self._bell is not None:
            self._bell.close()
        self._connection.close()
