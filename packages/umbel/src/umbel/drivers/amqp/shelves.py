"""The shelves port on RabbitMQ: the quarantine, a queue that is looked at and left as it is.

``broker`` makes it. A queue can be read from its front only, so whoever looks takes out everything,
keeps what is wanted and gives the rest back, each message to its place; an exclusive queue is the
lock that lets one do so at a time. What leaves is acknowledged here and published to its queue in
one AMQP transaction: a caller that dies before it is committed has done nothing.

What rests until its time lies in RabbitMQ's own delays, in an order that is nobody's, between
messages of every queue: it can neither be listed nor taken out.
"""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pamqp import commands

from umbel.drivers.amqp.address import Address
from umbel.drivers.amqp.connection import BROKER, ChannelClosed, Connection, Refused
from umbel.drivers.amqp.declaring import Declarer
from umbel.drivers.amqp.frames import (
    Delivered,
    ack_frame,
    content_frames,
    method_frame,
    publish_frame,
)
from umbel.drivers.amqp.messages import unsendable
from umbel.drivers.amqp.priorities import ranks_of
from umbel.drivers.amqp.publisher import AmqpPublisher
from umbel.drivers.amqp.quarantine import opened, properties_back, quarantined, shelved
from umbel.drivers.amqp.refusals import RESOURCE_LOCKED, declaring
from umbel.drivers.amqp.topology import (
    QUARANTINE_LOCK,
    declare_quarantine,
    delayed_target,
    quarantine_of,
)
from umbel.drivers.shelving import results_first
from umbel.errors import BrokerUnavailable, NotSupported, Unroutable
from umbel.model.queues import Queue
from umbel.model.shelves import Aside, Page, Selection, Shelf, Shelved, Withdrawal
from umbel.ports import ResultBackend, Shelves

LOCK_PATIENCE = 10.0
"""Seconds for which to wait until another has looked."""
_ASK_AGAIN = 0.02
_READING, _DECLARING = 1, 2
_TAG = "umbel-quarantine"


class AmqpShelves(Shelves):
    """Thread-safe: every call has a connection of its own."""

    def __init__(self, address: Address, results: ResultBackend | None) -> None:
        self._address = address
        self._results = results

    def page(
        self, shelf: Shelf, queue: str, selection: Selection, *, after: str | None, limit: int
    ) -> Page:
        _only_quarantine(shelf)
        begin = after or ""
        with self._reading(queue) as reading:
            found = heapq.nsmallest(
                limit + 1,
                (
                    entry
                    for _, entry in reading.entries()
                    if entry.id > begin and _wanted(entry, selection)
                ),
                key=lambda entry: entry.id,
            )
        entries = tuple(found[:limit])
        return Page(entries, entries[-1].id if len(found) > limit else None)

    def fetch(self, shelf: Shelf, queue: str, ids: Sequence[str]) -> Sequence[Shelved]:
        _only_quarantine(shelf)
        wanted = set(ids)
        with self._reading(queue) as reading:
            found = {entry.id: entry for _, entry in reading.entries() if entry.id in wanted}
        return list(found.values())

    def oldest(self, queue: str) -> Shelved | None:
        """Return what was set aside first; None where nothing is, or another looks just now."""
        with contextlib.suppress(_Looking), self._reading(queue, patience=0.0) as reading:
            return next((entry for _, entry in reading.entries(most=1)), None)
        return None

    def withdraw(
        self, shelf: Shelf, queue: str, withdrawals: Sequence[Withdrawal]
    ) -> Sequence[str]:
        _only_quarantine(shelf)
        wanted = {each.id: each for each in withdrawals}
        with self._reading(queue) as reading:
            held = {entry.id: event for event, entry in reading.entries() if entry.id in wanted}
            leaving = [(held[each.id], each) for each in wanted.values() if each.id in held]
            if self._results is not None:
                results_first(self._results, [each for _, each in leaving])
            reading.let_go(leaving)
        return [each.id for _, each in leaving]

    def set_aside(self, asides: Sequence[Aside]) -> None:
        publisher = AmqpPublisher(self._address)
        timeout = self._address.connect_timeout + self._address.socket_timeout
        try:
            parcels = []
            for each in asides:
                target = quarantine_of(each.queue)
                publisher.declare(declare_quarantine(each.queue), timeout=timeout)
                message = quarantined(
                    opened(each.raw),
                    each.verdict,
                    queue=each.queue,
                    count=each.count,
                    worker=each.worker,
                )
                parcels.append(publisher.straight(message, target, None))
            publisher.post(parcels, timeout=timeout)
        finally:
            publisher.close()

    @contextlib.contextmanager
    def _reading(self, queue: str, *, patience: float = LOCK_PATIENCE) -> Iterator[_Reading]:
        reading = _Reading(self._address, queue)
        try:
            reading.open(patience)
            yield reading
            reading.leave()
        finally:
            reading.close()


class _Looking(BrokerUnavailable):
    """Another looks at this quarantine."""


class _Reading:
    """One look at one quarantine, alone. Belongs to one thread."""

    def __init__(self, address: Address, queue: str) -> None:
        self._address = address
        self._queue = queue
        self._place = quarantine_of(queue).name
        self._connection = Connection(address, BROKER)
        self._declarer = Declarer(self._connection, _DECLARING)
        self._ranks = ranks_of(quarantine_of(queue), address.priority_scale)
        self._held = False
        self._transaction = False

    def open(self, patience: float) -> None:
        """Connect and take the lock. Raises OperationalError."""
        until = time.monotonic() + patience
        connection = self._connection
        connection.ensure(self._deadline())
        lock = commands.Queue.Declare(queue=self._lock, exclusive=True, auto_delete=True)
        while True:
            connection.open_channel(_READING, self._deadline())
            try:
                connection.call(_READING, lock, commands.Queue.DeclareOk, self._deadline())
            except Refused as error:
                if error.code != RESOURCE_LOCKED:
                    what = f"queue {self._lock!r}"
                    raise declaring(error.code, error.text, what, self._address) from error
                if time.monotonic() >= until:
                    raise _Looking(
                        f"Another program looks at the quarantine of queue {self._queue!r} on "
                        f"{self._address.url}, and has not finished for {patience:g} s: try again."
                    ) from error
                time.sleep(_ASK_AGAIN)
            else:
                return

    def entries(self, *, most: int | None = None) -> Iterator[tuple[Delivered, Shelved]]:
        """Yield what lies there, the front first. Raises OperationalError."""
        look = commands.Queue.Declare(queue=self._place, passive=True)
        try:
            reply = self._declarer.call(
                look, commands.Queue.DeclareOk, f"queue {self._place!r}", self._deadline()
            )
        except Unroutable:
            return  # nothing was ever set aside
        # Nobody takes anything out while we have the lock, so at least these will come.
        left = reply.message_count or 0
        if most is not None:
            left = min(left, most)
        if not left:
            return
        qos = commands.Basic.Qos(prefetch_count=min(most or 0, 65535))
        consume = commands.Basic.Consume(queue=self._place, consumer_tag=_TAG)
        connection = self._connection
        connection.call(_READING, qos, commands.Basic.QosOk, self._deadline())
        connection.call(_READING, consume, commands.Basic.ConsumeOk, self._deadline())
        self._held = True
        while left:
            while left and connection.events:
                event = connection.events.popleft()
                if isinstance(event, Delivered):
                    left -= 1
                    yield event, shelved(event, self._queue, self._ranks)
                elif isinstance(event, ChannelClosed):
                    raise declaring(event.code, event.text, f"queue {self._place!r}", self._address)
            if left:
                self._wait()

    def _wait(self) -> None:
        try:
            self._connection.take(self._deadline())
        except TimeoutError:
            raise BrokerUnavailable(
                f"The broker {self._address.url} did not hand over what lies in {self._place!r} "
                "in time."
            ) from None

    def let_go(self, leaving: Sequence[tuple[Delivered, Withdrawal]]) -> None:
        """Take these out, and publish to the queue what goes back, in one transaction.

        Raises Unroutable where the queue is not there any more, OperationalError.
        """
        if not leaving:
            return
        frames: list[bytes] = []
        if any(each.raw is not None for _, each in leaving):
            look = commands.Queue.Declare(queue=self._queue, passive=True)
            what = f"queue {self._queue!r}"
            self._declarer.call(look, commands.Queue.DeclareOk, what, self._deadline())
        for event, withdrawal in leaving:
            if withdrawal.raw is not None:
                frames += self._published(event, withdrawal)
            frames.append(ack_frame(_READING, event.tag))
        connection = self._connection
        connection.call(_READING, commands.Tx.Select(), commands.Tx.SelectOk, self._deadline())
        self._transaction = True
        with connection.losing(uncertain=True):
            connection.send(b"".join(frames), self._deadline())
        self._commit()

    def _published(self, event: Delivered, withdrawal: Withdrawal) -> list[bytes]:
        assert withdrawal.raw is not None
        exchange, key = "", self._queue
        seconds = 0.0
        if withdrawal.due_at is not None:
            seconds = (withdrawal.due_at - datetime.now(UTC)).total_seconds()
        if seconds > 0:
            queue = Queue(self._queue)
            self._declarer.declare_delay(queue, self._deadline())
            target = delayed_target(queue, seconds)
            exchange, key = target.exchange, target.routing_key
        message = opened(withdrawal.raw)
        try:
            content = content_frames(
                _READING,
                properties_back(event, message),
                message.body,
                self._connection.frame_max,
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise unsendable(message, error) from error
        return [publish_frame(_READING, exchange, key), *content]

    def _commit(self) -> None:
        connection = self._connection
        with connection.losing(uncertain=True):
            connection.send(method_frame(_READING, commands.Tx.Commit()), self._deadline())
        try:
            connection.expect(_READING, commands.Tx.CommitOk, self._deadline())
        except Refused as error:
            raise declaring(
                error.code, error.text, f"queue {self._queue!r}", self._address
            ) from error

    def leave(self) -> None:
        """Give back what is left, and see that it is there before another looks."""
        connection = self._connection
        if self._held:
            cancel = commands.Basic.Cancel(_TAG)
            connection.call(_READING, cancel, commands.Basic.CancelOk, self._deadline())
            back = commands.Basic.Nack(delivery_tag=0, multiple=True, requeue=True)
            with connection.losing():
                connection.send(method_frame(_READING, back), self._deadline())
            if self._transaction:
                self._commit()
            look = commands.Queue.Declare(queue=self._place, passive=True)
            connection.call(_READING, look, commands.Queue.DeclareOk, self._deadline())
        unlock = commands.Queue.Delete(queue=self._lock)
        connection.call(_READING, unlock, commands.Queue.DeleteOk, self._deadline())

    def close(self) -> None:
        """Let go of everything, whatever state it is in."""
        self._connection.close()

    @property
    def _lock(self) -> str:
        return f"{QUARANTINE_LOCK}{self._queue}"

    def _deadline(self) -> float:
        return time.monotonic() + self._address.connect_timeout + self._address.socket_timeout


def _only_quarantine(shelf: Shelf) -> None:
    if shelf is not Shelf.QUARANTINE:
        raise NotSupported(
            "RabbitMQ keeps what rests until its time in delays of its own (celery_delayed_27 to "
            "celery_delayed_0), where it can neither be listed nor taken out: revoke a task by its "
            "id ('umbel revoke ID', app.control.revoke), and it ends as REVOKED when it is due."
        )


def _wanted(entry: Shelved, selection: Selection) -> bool:
    return (
        (selection.since is None or entry.at >= selection.since)
        and (selection.until is None or entry.at < selection.until)
        and (not selection.containing or any(part in entry.raw for part in selection.containing))
    )
