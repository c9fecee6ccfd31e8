"""Handing messages to RabbitMQ: one write, confirms counted, whatever their number.

``broker`` opens publishers; a consumer has one for what follows a task, ``result_backend`` one for
results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from pamqp import commands

from umbel.drivers.amqp.address import Address
from umbel.drivers.amqp.connection import BROKER, ChannelClosed, Connection, Role
from umbel.drivers.amqp.declaring import Declarer
from umbel.drivers.amqp.frames import (
    Confirmed,
    Returned,
    content_frames,
    publish_frame,
)
from umbel.drivers.amqp.messages import properties_of, unsendable
from umbel.drivers.amqp.priorities import AS_THEY_ARE, Ranks, ranks_of
from umbel.drivers.amqp.topology import Target, delayed_target, target_of
from umbel.errors import OutcomeUnknown, Unroutable
from umbel.model.message import EncodedMessage
from umbel.model.queues import Outgoing, Queue
from umbel.ports import Publisher

_CHANNEL, _DECLARING = 1, 2
_PIECE = 1 << 20
"""Bytes that are written before confirms are looked at."""


class Parcel(msgspec.Struct, frozen=True):
    """One message and where it goes; ``queue`` None for one that needs nothing declared."""

    message: EncodedMessage
    target: Target
    queue: Queue | None = None
    must_arrive: bool = True
    """A message that no queue takes is an error."""
    ranks: Ranks = AS_THEY_ARE
    """How its priority is written."""


class AmqpPublisher(Publisher):
    """One connection that only publishes, with confirms. One thread at a time."""

    def __init__(self, address: Address, role: Role = BROKER) -> None:
        self._connection = Connection(address, role)
        self._declarer = Declarer(self._connection, _DECLARING)
        self._generation = -1
        self._next_tag = 1
        self._exchanges: set[str] = set()
        self._begun: dict[Target, bytes] = {}

    @property
    def blocked(self) -> bool:
        """Whether the broker said that it takes no messages now, as far as was read."""
        return bool(self._connection.blocked)

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        if not outgoing:
            return
        deadline = time.monotonic() + timeout
        self._ready(deadline)
        now = datetime.now(UTC)
        parcels: list[Parcel] = []
        for each in outgoing:
            queue = each.queue
            if not self._declarer.knows(queue):
                self._declarer.declare(queue, deadline)
            seconds = 0.0 if each.due_at is None else (each.due_at - now).total_seconds()
            if seconds > 0:
                self._declarer.declare_delay(queue, deadline)
                target = delayed_target(queue, seconds)
            else:
                target = target_of(queue)
            parcels.append(Parcel(each.message, target, queue, ranks=self._ranks(queue)))
        lost = self._send(parcels, deadline)
        if lost:
            # A queue was deleted since we declared it: once more, from the beginning.
            self._declarer.forget()
            for parcel in lost:
                if parcel.queue is not None:
                    self._declarer.declare(parcel.queue, deadline)
                    self._declarer.declare_delay(parcel.queue, deadline)
            self._refuse(self._send(lost, deadline), len(outgoing))

    def post(self, parcels: Sequence[Parcel], *, timeout: float) -> None:
        """Publish to targets as they are. Raises as ``publish``."""
        deadline = time.monotonic() + timeout
        self._ready(deadline)
        self._refuse(self._send(parcels, deadline), len(parcels))

    def straight(self, message: EncodedMessage, queue: Queue, due_at: datetime | None) -> Parcel:
        """Return a parcel for this very queue, past any exchange of its own, for ``post``.

        Raises as ``publish`` where the way of delayed messages has to be made first.
        """
        seconds = 0.0 if due_at is None else (due_at - datetime.now(UTC)).total_seconds()
        if seconds <= 0:
            return Parcel(message, Target("", queue.name), ranks=self._ranks(queue))
        deadline = time.monotonic() + self._connection.address.socket_timeout
        self._ready(deadline)
        self._declarer.declare_delay(queue, deadline)
        target = delayed_target(Queue(queue.name), seconds)
        return Parcel(message, target, ranks=self._ranks(queue))

    def _ranks(self, queue: Queue) -> Ranks:
        return ranks_of(queue, self._connection.address.priority_scale)

    def declare(self, method: commands.Queue.Declare, *, timeout: float) -> None:
        """Make a queue exist that is not a task queue. Raises as ``publish``."""
        deadline = time.monotonic() + timeout
        self._ready(deadline)
        what = f"queue {method.queue!r}"
        self._declarer.call(method, commands.Queue.DeclareOk, what, deadline)

    def declare_exchange(self, method: commands.Exchange.Declare, *, timeout: float) -> None:
        """Make an exchange exist that belongs to no queue. Raises as ``publish``."""
        deadline = time.monotonic() + timeout
        self._ready(deadline)
        name = method.exchange or ""
        if name not in self._exchanges:
            self._declarer.call(method, commands.Exchange.DeclareOk, f"exchange {name!r}", deadline)
            self._exchanges.add(name)

    # --- one batch ----------------------------------------------------------------------------

    def _ready(self, deadline: float) -> None:
        """Have a channel in confirm mode. Raises ``role.unavailable``."""
        connection = self._connection
        connection.ensure(deadline)
        if connection.generation == self._generation and connection.events:
            self._look(set(), [])  # what came while nobody published: a closed channel, mostly
            connection.ensure(deadline)
        if connection.generation != self._generation:
            connection.open_channel(_CHANNEL, deadline)
            select, selected = commands.Confirm.Select(), commands.Confirm.SelectOk
            connection.call(_CHANNEL, select, selected, deadline)
            self._next_tag = 1
            self._exchanges.clear()
            self._generation = connection.generation
        if connection.blocked:
            raise connection.role.unavailable(
                f"The {connection.role.name} {connection.address.url} takes no messages now, "
                f"because of its {connection.blocked}."
            )

    def _send(self, parcels: Sequence[Parcel], deadline: float) -> list[Parcel]:
        """Publish, wait for every confirm, return what was returned."""
        connection = self._connection
        waiting: set[int] = set()
        returned: list[Returned] = []
        pieces: list[bytes] = []
        size = 0
        encoded = [self._encoded(parcel) for parcel in parcels]
        with connection.losing(uncertain=True):
            for frames in encoded:
                waiting.add(self._next_tag)
                self._next_tag += 1
                pieces += frames
                size += sum(map(len, frames))
                if size > _PIECE:
                    connection.send(b"".join(pieces), deadline)
                    pieces.clear()
                    size = 0
                    connection.take()
                    self._look(waiting, returned)
            if pieces:
                connection.send(b"".join(pieces), deadline)
            while waiting:
                self._look(waiting, returned)
                if waiting:
                    self._await_confirm(deadline, len(waiting))
        return [] if not returned else list(_missing(parcels, returned))

    def _await_confirm(self, deadline: float, count: int) -> None:
        connection = self._connection
        try:
            connection.take(deadline)
        except TimeoutError:
            why = f", because of its {connection.blocked}" if connection.blocked else ""
            if not connection.blocked:
                connection.drop()  # else it tells us when the broker takes messages again
            raise connection.role.unknown(
                f"The {connection.role.name} {connection.address.url} has not confirmed "
                f"{count} messages in time{why}: they may have arrived or not."
            ) from None

    def _encoded(self, parcel: Parcel) -> list[bytes]:
        begun = self._begun.get(parcel.target)
        if begun is None:
            if len(self._begun) > 1000:
                self._begun.clear()  # delays make many targets
            begun = publish_frame(_CHANNEL, parcel.target.exchange, parcel.target.routing_key)
            self._begun[parcel.target] = begun
        message = parcel.message
        try:
            return [
                begun,
                *content_frames(
                    _CHANNEL,
                    properties_of(message, parcel.ranks),
                    message.body,
                    self._connection.frame_max,
                ),
            ]
        except (ValueError, TypeError, OverflowError) as error:
            raise unsendable(message, error) from error

    def _look(self, waiting: set[int], returned: list[Returned]) -> None:
        """Take in confirms and returns. Raises Refused, ``role.unknown``."""
        connection = self._connection
        events = connection.events
        while events:
            event = events.popleft()
            if isinstance(event, Confirmed):
                if not event.good:
                    connection.drop()
                    raise connection.role.unknown(
                        f"The {connection.role.name} {connection.address.url} refused a message: "
                        "its queue is full (x-max-length with reject-publish), or it failed inside."
                    )
                if event.multiple:
                    waiting.difference_update([tag for tag in waiting if tag <= event.tag])
                else:
                    waiting.discard(event.tag)
            elif isinstance(event, Returned):
                returned.append(event)
            elif isinstance(event, ChannelClosed):
                connection.drop()
                if waiting:
                    raise _refused_publish(event, connection)

    def _refuse(self, lost: list[Parcel], count: int) -> None:
        if not lost:
            return
        name = lost[0].queue.name if lost[0].queue is not None else lost[0].target.routing_key
        text = (
            f"No queue of {self._connection.address.url} takes a message for {name!r}: it is not "
            "there, or nothing binds it to its exchange, and this user may not declare it."
        )
        if len(lost) < count:
            raise OutcomeUnknown(f"Only a part of {count} messages was sent. {text}")
        raise Unroutable(text)

    def close(self) -> None:
        self._connection.close()


def _missing(parcels: Sequence[Parcel], returned: Sequence[Returned]) -> Iterator[Parcel]:
    """Yield what came back and had to arrive. Returns come in the order of publishing."""
    place = 0
    for parcel in parcels:
        if place == len(returned):
            return
        back, target = returned[place], parcel.target
        if (back.exchange, back.routing_key) != (target.exchange, target.routing_key):
            continue
        if back.properties.correlation_id == parcel.message.properties.get("correlation_id"):
            place += 1
            if parcel.must_arrive:
                yield parcel


def _refused_publish(event: ChannelClosed, connection: Connection) -> Exception:
    if event.code == 404:
        return Unroutable(
            f"There is no such exchange on {connection.address.url} "
            f"(RabbitMQ says: {event.text[:300]})."
        )
    return connection.role.unavailable(
        f"The {connection.role.name} {connection.address.url} refused a message "
        f"(RabbitMQ says: {event.text[:300]})."
    )
