"""The bus on RabbitMQ, as Celery lays it out: an exchange for each topic, a queue for each mailbox.

``open`` in this package makes it. The exchange for events is durable, those for commands and
replies are not; that is what Celery declares, and all who share an exchange must declare it alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pamqp import commands

from umbel.drivers.amqp.address import LONGEST_HEARTBEAT, Address
from umbel.drivers.amqp.connection import BROKER, ChannelClosed, Connection
from umbel.drivers.amqp.declaring import Declarer
from umbel.drivers.amqp.frames import Delivered, Method
from umbel.drivers.amqp.messages import message_of
from umbel.drivers.amqp.publisher import AmqpPublisher, Parcel
from umbel.drivers.amqp.topology import Target
from umbel.drivers.doorbell import Doorbell
from umbel.model.bus import Mailbox, Notice, Spread, Topic
from umbel.ports import Bus, Line

_CHANNEL, _DECLARING = 1, 2


class AmqpBus(Bus):
    """Makes lines. Holds no connection itself."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def open_line(self, mailboxes: Sequence[Mailbox] = ()) -> AmqpLine:
        return AmqpLine(self._address, mailboxes)

    def close(self) -> None:
        """Nothing to let go of: each line closes its own connections."""


class AmqpLine(Line):
    """Two connections: one that hears, one that tells. One thread at a time, except ``wake``.

    What is told is confirmed by the broker, so ``tell`` knows whether it got there; how many
    mailboxes it reached the protocol does not say.
    """

    def __init__(self, address: Address, mailboxes: Sequence[Mailbox]) -> None:
        self._address = address
        self._mailboxes = {each.queue: each for each in mailboxes}
        beat = LONGEST_HEARTBEAT if address.heartbeat is None else address.heartbeat
        self._ear = Connection(address, BROKER, heartbeat=beat)
        self._mouth = AmqpPublisher(address)
        self._declarer = Declarer(self._ear, _DECLARING)
        self._bell = Doorbell()
        self._generation = -1

    # --- telling ------------------------------------------------------------------------------

    def tell(self, notices: Sequence[Notice], *, timeout: float) -> int | None:
        if not notices:
            return 0
        deadline = time.monotonic() + timeout
        for topic in {notice.topic for notice in notices}:
            self._mouth.declare_exchange(_exchange_of(topic), timeout=deadline - time.monotonic())
        self._mouth.post(
            [
                Parcel(notice.message, Target(notice.topic.name, notice.key), must_arrive=False)
                for notice in notices
            ],
            timeout=deadline - time.monotonic(),
        )
        return None

    # --- hearing ------------------------------------------------------------------------------

    def listen(self, timeout: float) -> None:
        ear = self._ear
        if ear.connected and ear.generation == self._generation:
            return
        deadline = time.monotonic() + timeout
        ear.ensure(deadline)
        try:
            ear.open_channel(_CHANNEL, deadline)
            for mailbox in self._mailboxes.values():
                self._begin(mailbox, deadline)
        except BaseException:
            ear.drop()
            raise
        self._generation = ear.generation

    def _begin(self, mailbox: Mailbox, deadline: float) -> None:
        topic, name = mailbox.topic, mailbox.queue
        what = f"mailbox {name!r}"
        binding = commands.Queue.Bind(queue=name, exchange=topic.name, routing_key=mailbox.binding)
        call = self._declarer.call
        call(
            _exchange_of(topic),
            commands.Exchange.DeclareOk,
            f"exchange {topic.name!r}",
            deadline,
        )
        call(_queue_of(mailbox), commands.Queue.DeclareOk, what, deadline)
        call(binding, commands.Queue.BindOk, what, deadline)
        consume = commands.Basic.Consume(queue=name, consumer_tag=name, no_ack=True)
        call(consume, commands.Basic.ConsumeOk, what, deadline)

    def receive(self, timeout: float) -> Sequence[Notice]:
        deadline = time.monotonic() + timeout
        ear = self._ear
        while True:
            self.listen(self._address.connect_timeout + self._address.socket_timeout)
            heard = self._heard()
            if heard or self._bell.answer() or time.monotonic() >= deadline:
                return heard
            remaining = min(deadline, ear.beat_at) - time.monotonic()
            if remaining > 0 and not ear.readable():
                self._bell.wait(ear, remaining)

    def _heard(self) -> list[Notice]:
        """Return what has arrived. Raises BrokerUnavailable."""
        ear = self._ear
        ear.take()
        heard: list[Notice] = []
        while ear.events:
            event = ear.events.popleft()
            if isinstance(event, Delivered):
                topic = self._mailboxes[event.consumer_tag].topic
                heard.append(Notice(topic, event.routing_key, message_of(event)))
            elif isinstance(event, ChannelClosed) or (
                isinstance(event, Method) and isinstance(event.method, commands.Basic.Cancel)
            ):
                # A mailbox was deleted: the next listen makes everything anew.
                self._generation = -1
                ear.drop()
        return heard

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        # Mailboxes are exclusive or go with their last reader: closing takes them away; those that
        # the settings made durable the broker drops when they expire.
        self._ear.close()
        self._mouth.close()
        self._bell.close()


def _exchange_of(topic: Topic) -> commands.Exchange.Declare:
    return commands.Exchange.Declare(
        exchange=topic.name,
        exchange_type=topic.spread.value,
        durable=topic.spread is Spread.BY_PATTERN,
    )


def _queue_of(mailbox: Mailbox) -> commands.Queue.Declare:
    arguments: dict[str, Any] = {}
    if mailbox.expires is not None:
        arguments["x-expires"] = round(mailbox.expires * 1000)
    if mailbox.ttl is not None:
        arguments["x-message-ttl"] = round(mailbox.ttl * 1000)
    return commands.Queue.Declare(
        queue=mailbox.queue,
        durable=mailbox.durable,
        exclusive=mailbox.exclusive,
        auto_delete=not mailbox.durable,
        arguments=arguments,
    )
