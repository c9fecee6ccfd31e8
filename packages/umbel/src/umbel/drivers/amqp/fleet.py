"""What all workers must hear and all clients may ask: revocations and presences, in two streams.

A stream is RabbitMQ's log: it survives the broker and whoever wrote to it, and is read by everybody
from wherever they wish (docs/design/0012). ``broker`` writes revocations and reads presences;
``consumer`` follows the revocations and tells its presence. Where the end of a stream is, a reader
finds out by writing a mark and reading up to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from pamqp import commands

from umbel.drivers.amqp.connection import Connection, Refused
from umbel.drivers.amqp.frames import Delivered, ack_frame, method_frame
from umbel.drivers.amqp.publisher import AmqpPublisher, Parcel
from umbel.drivers.amqp.refusals import declaring
from umbel.drivers.amqp.topology import Target
from umbel.model.message import EncodedMessage
from umbel.model.presence import Presence
from umbel.model.revocation import Revocation

REVOCATIONS, PRESENCES = "umbel.revocations", "umbel.presences"
LONGEST_KEEP = 90
"""Days for which a revocation can be kept."""
LONGEST_LEASE = 60.0
"""Seconds for which a presence holds at most: how far back a reader has to look."""
_PREFETCH = 500
_AGES = {REVOCATIONS: f"{LONGEST_KEEP}D", PRESENCES: "1h"}
_SEGMENT = 4_000_000
"""Bytes after which the broker begins a new file and may drop an old one."""


class _Note(msgspec.Struct, omit_defaults=True):
    """One entry of a stream: exactly one of its fields is set, ``until`` beside it (Unix time)."""

    until: float = 0.0
    mark: str | None = None
    revocation: Revocation | None = None
    presence: Presence | None = None
    gone: str | None = None


_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(_Note).decode


def declare(publisher: AmqpPublisher, stream: str, *, timeout: float) -> None:
    """Make a stream exist. Raises ImproperlyConfigured where the broker has no streams."""
    arguments: dict[str, Any] = {
        "x-queue-type": "stream",
        "x-max-age": _AGES[stream],
        "x-stream-max-segment-size-bytes": _SEGMENT,
    }
    publisher.declare(
        commands.Queue.Declare(queue=stream, durable=True, arguments=arguments), timeout=timeout
    )


def revoked(revocations: Sequence[Revocation], *, keep: float) -> list[Parcel]:
    """Return the entries that revoke for ``keep`` seconds."""
    until = time.time() + keep
    return [_entry(REVOCATIONS, _Note(until=until, revocation=each)) for each in revocations]


def present(presence: Presence, lease: float) -> Parcel:
    """Return the entry that tells of a worker for the length of its lease."""
    now = time.time()
    seen = msgspec.structs.replace(presence, seen=now)
    return _entry(PRESENCES, _Note(until=now + min(lease, LONGEST_LEASE), presence=seen))


def gone(owner: str) -> Parcel:
    """Return the entry that tells that a worker is not there any more."""
    return _entry(PRESENCES, _Note(gone=owner))


def _entry(stream: str, note: _Note) -> Parcel:
    message = EncodedMessage(
        headers={},
        properties={"delivery_mode": 2},
        body=_write(note),
        content_type="application/json",
        content_encoding="utf-8",
    )
    return Parcel(message, Target("", stream))


class Follower:
    """Reads one stream on one channel of a connection. One thread at a time."""

    def __init__(self, connection: Connection, channel: int, stream: str) -> None:
        self._connection = connection
        self._channel = channel
        self._stream = stream
        self._unacked = 0
        self._mark = ""
        self.notes: list[_Note] = []
        """What was read and not taken yet; marks are left out."""

    def follow(self, publisher: AmqpPublisher, offset: str | datetime, deadline: float) -> None:
        """Begin at ``offset`` and read what is there already. Raises OperationalError."""
        connection, channel = self._connection, self._channel
        self._unacked = 0
        self._mark = os.urandom(8).hex()
        connection.open_channel(channel, deadline)
        arguments: dict[str, Any] = {"x-stream-offset": offset}
        consume = commands.Basic.Consume(
            queue=self._stream, consumer_tag=self._stream, arguments=arguments
        )
        try:
            qos = commands.Basic.Qos(prefetch_count=_PREFETCH)
            connection.call(channel, qos, commands.Basic.QosOk, deadline)
            connection.call(channel, consume, commands.Basic.ConsumeOk, deadline)
        except Refused as error:
            what = f"stream {self._stream!r}"
            raise declaring(error.code, error.text, what, connection.address) from error
        mark = _entry(self._stream, _Note(mark=self._mark))
        publisher.post([mark], timeout=deadline - time.monotonic())
        while self._mark:
            self._take_ours()
            if self._mark:
                try:
                    connection.take(deadline)
                except TimeoutError:
                    raise connection.role.unavailable(
                        f"The stream {self._stream!r} of {connection.address.url} could not be "
                        "read to its end in time."
                    ) from None

    def _take_ours(self) -> None:
        others = []
        while self._connection.events:
            event = self._connection.events.popleft()
            if isinstance(event, Delivered) and event.channel == self._channel:
                self.hear(event)
            else:
                others.append(event)
        self._connection.events.extend(others)

    def hear(self, event: Delivered) -> None:
        """Take in one entry. Raises OSError when the broker cannot be told that we have it."""
        self._unacked += 1
        if self._unacked >= _PREFETCH // 2:
            self._unacked = 0
            until = time.monotonic() + self._connection.address.socket_timeout
            self._connection.send(ack_frame(self._channel, event.tag, multiple=True), until)
        try:
            note = _read(event.body)
        except msgspec.DecodeError:
            return  # not ours: nobody else should write there, and nothing depends on it
        if note.mark is None:
            self.notes.append(note)
        elif note.mark == self._mark:
            self._mark = ""

    def end(self) -> None:
        """Read no more. Raises OperationalError."""
        with self._connection.losing():
            until = time.monotonic() + self._connection.address.socket_timeout
            cancel = commands.Basic.Cancel(self._stream, nowait=True)
            self._connection.send(method_frame(self._channel, cancel), until)

    def revocations(self) -> list[Revocation]:
        """Return the revocations read since the last call that still hold."""
        now = time.time()
        notes, self.notes = self.notes, []
        # By id: whoever revoked last said it best.
        found = {
            note.revocation.task_id: note.revocation
            for note in notes
            if note.revocation is not None and note.until > now
        }
        return list(found.values())

    def presences(self) -> list[Presence]:
        """Return who is there, by what was read."""
        now = time.time()
        there: dict[str, Presence] = {}
        for note in self.notes:
            if note.gone is not None:
                there.pop(note.gone, None)
            elif note.presence is not None:
                there.pop(note.presence.owner, None)
                if note.until > now:
                    there[note.presence.owner] = note.presence
        self.notes = []
        return list(there.values())


def lookback() -> datetime:
    """Return the moment from which presences are read."""
    return datetime.fromtimestamp(time.time() - LONGEST_LEASE - 5, UTC)
