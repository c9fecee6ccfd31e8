"""The bus on Redis, as kombu lays it out: PUBLISH for what goes to all, a list for each reply box.

``open`` in this package makes it. Topics that spread to all, and those by pattern, are channels;
their names carry the number of the database, since channels have none. What goes to one key is
pushed to the list that the routing table gives for it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from umbel.drivers.doorbell import Doorbell
from umbel.drivers.redis.address import Options
from umbel.drivers.redis.connection import BROKER, Command, Connection, pack
from umbel.drivers.redis.keys import Keys
from umbel.drivers.redis.scripts import BIND_EXPIRING
from umbel.errors import WireError
from umbel.model.bus import Mailbox, Notice, Spread, Topic
from umbel.ports import Bus, Line
from umbel.wire.envelope import dump_kombu, load

logger = logging.getLogger("umbel.drivers.redis")

BLOCK = 1.0
"""Seconds one BRPOP waits; an answer this often also shows that the server is there."""
LEAST_BINDING_LIFE = 3_600_000
BOX_LIFE = 60_000
"""Milliseconds a list of replies lives after the last one, should its reader never come."""


class RedisBus(Bus):
    """Makes lines. Holds no connection itself."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._keys = Keys(options.keys)

    def open_line(self, mailboxes: Sequence[Mailbox] = ()) -> RedisLine:
        return RedisLine(self._options, self._keys, mailboxes)

    def close(self) -> None:
        """Nothing to let go of: each line closes its own connections."""


class RedisLine(Line):
    """Two connections: one that hears, one that tells. One thread at a time, except ``wake``."""

    def __init__(self, options: Options, keys: Keys, mailboxes: Sequence[Mailbox]) -> None:
        address = options.address
        self._address = address
        self._keys = keys
        self._patterns: dict[bytes, Topic] = {}
        self._boxes: dict[bytes, Mailbox] = {}
        for each in mailboxes:
            if each.topic.spread is Spread.BY_KEY:
                self._boxes[keys.queue(each.queue).lists[0]] = each
            else:
                self._patterns[keys.channel_pattern(address.db, each.topic, each.binding)] = (
                    each.topic
                )
        self._ear = Connection(address, BROKER)
        self._mouth = Connection(address, BROKER)
        self._bell = Doorbell()
        self._generation = -1
        self._popping = False
        """A BRPOP is on the way, its answer not read yet."""

    # --- telling ------------------------------------------------------------------------------

    def tell(self, notices: Sequence[Notice], *, timeout: float) -> int | None:
        if not notices:
            return 0
        deadline = time.monotonic() + timeout
        commands: list[Command] = []
        for notice in notices:
            commands += self._commands(notice, deadline)
        if not commands:
            return 0
        replies = self._mouth.pipeline(commands, deadline)
        last = notices[-1].topic.spread
        return 1 if last is Spread.BY_KEY else int(replies[-1])

    def _commands(self, notice: Notice, deadline: float) -> list[Command]:
        topic, keys = notice.topic, self._keys
        raw = dump_kombu(
            notice.message,
            exchange=topic.name,
            routing_key=notice.key,
            delivery_tag=str(uuid.uuid4()),
        )
        if topic.spread is not Spread.BY_KEY:
            return [("PUBLISH", keys.channel(self._address.db, topic, notice.key), raw)]
        members = self._mouth.call(("SMEMBERS", keys.binding(topic.name)), deadline)
        commands: list[Command] = []
        for queue in keys.queues_bound(list(members), notice.key):
            box = keys.queue(queue).lists[0]
            commands += [("LPUSH", box, raw), ("PEXPIRE", box, BOX_LIFE)]
        return commands

    # --- hearing ------------------------------------------------------------------------------

    def listen(self, timeout: float) -> None:
        ear = self._ear
        if ear.connected and ear.generation == self._generation:
            return
        deadline = time.monotonic() + timeout
        ear.ensure(deadline)
        self._popping = False
        for mailbox in self._boxes.values():
            life = max(2 * round((mailbox.expires or 0) * 1000), LEAST_BINDING_LIFE)
            BIND_EXPIRING.run(
                ear,
                [self._keys.binding(mailbox.topic.name), self._keys.binding_deadlines],
                [self._keys.box_member(mailbox), mailbox.topic.name, life],
                deadline,
            )
        if self._patterns:
            # The PING's answer comes after the subscriptions are made.
            data = pack(("PSUBSCRIBE", *self._patterns)) + pack(("PING",))
            (answer,) = ear.exchange(data, 1, deadline)
            if isinstance(answer, Exception):
                raise ear.refused(answer)
        self._generation = ear.generation

    def receive(self, timeout: float) -> Sequence[Notice]:
        deadline = time.monotonic() + timeout
        interval = self._address.health_check_interval or timeout
        while True:
            self.listen(self._patience())
            heard = self._heard()
            now = time.monotonic()
            if heard or self._bell.answer() or now >= deadline:
                return heard
            remaining = min(deadline - now, interval)
            if self._boxes and not self._popping:
                data = pack(("BRPOP", *self._boxes, BLOCK))
                self._ear.exchange(data, 0, now + self._patience())
                self._popping = True
            if not self._bell.wait(self._ear, remaining):
                if self._bell.answer():
                    return ()
                if interval < deadline - now and not self._popping:
                    self._ear.call(("PING",), time.monotonic() + self._address.socket_timeout)

    def _heard(self) -> list[Notice]:
        """Return what has arrived."""
        heard: list[Notice] = []
        ear = self._ear
        if self._popping:
            if not self._bell.wait(ear, 0):
                return heard
            (popped,) = ear.exchange(b"", 1, time.monotonic() + BLOCK + self._patience())
            self._popping = False
            if isinstance(popped, Exception):
                raise ear.refused(popped)
            if popped is not None:
                self._open(self._boxes[popped[0]].topic, popped[1], heard)
        else:
            ear.take_pushes()
        while ear.pushes:
            push = ear.pushes.popleft()
            if push[0] == b"pmessage":
                self._open(self._patterns[push[1]], push[3], heard)
        return heard

    def _open(self, topic: Topic, raw: Any, heard: list[Notice]) -> None:
        try:
            message = load(raw)
            info = message.properties.get("delivery_info")
            key = info.get("routing_key") if isinstance(info, dict) else None
            heard.append(Notice(topic, str(key or ""), message))
        except WireError as error:
            logger.warning("What was told on %s cannot be read: %s", topic.name, error)

    def _patience(self) -> float:
        return self._address.connect_timeout + self._address.socket_timeout

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._ear.close()
        try:
            if self._boxes and self._generation >= 0:
                self._take_away()
        finally:
            self._mouth.close()
            self._bell.close()

    def _take_away(self) -> None:
        commands: list[Command] = []
        for box, mailbox in self._boxes.items():
            binding = self._keys.binding(mailbox.topic.name)
            commands += [("SREM", binding, self._keys.box_member(mailbox)), ("DEL", box)]
        self._mouth.pipeline(commands, time.monotonic() + self._patience())
