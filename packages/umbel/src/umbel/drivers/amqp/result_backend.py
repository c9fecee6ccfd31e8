"""``rpc://``: results as messages to whoever sent the task, as Celery's backend of that name.

``open`` in this package makes it. A worker publishes every state to the queue that the message of
the task names (``reply_to``); the process that sent it reads that queue (``mailbox``). So only the
sender can have a result, and nobody keeps it for another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from umbel.drivers.amqp.address import Address
from umbel.drivers.amqp.connection import BACKEND
from umbel.drivers.amqp.mailbox import Listener, Mailbox
from umbel.drivers.amqp.publisher import AmqpPublisher, Parcel
from umbel.drivers.amqp.topology import Target
from umbel.drivers.selfpipe import SelfPipe
from umbel.errors import ImproperlyConfigured
from umbel.model.message import EncodedMessage
from umbel.model.outcome import ResultRecord
from umbel.ports import ResultBackend, Watcher
from umbel.wire.serializers import SERIALIZERS


class ReplyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How replies are written. ``expires`` in seconds, None for a day."""

    expires: float | None = None
    persistent: bool = False
    serializer: str = "json"


class AmqpResultBackend(ResultBackend):
    """Thread-safe; a forked child has a reply queue of its own."""

    def __init__(self, address: Address, options: ReplyOptions) -> None:
        self._address = address
        self._options = options
        try:
            chosen = SERIALIZERS.get(options.serializer)
            self._content = chosen.content_type, chosen.content_encoding
        except ImproperlyConfigured:
            # One of the user's own, which this process does not know: bytes, then.
            self._content = "application/data", "binary"
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._mailbox = Mailbox(self._address, self._options.expires)
        self._publisher = AmqpPublisher(self._address, BACKEND)

    @property
    def mailbox(self) -> Mailbox:
        """The reply queue of this process."""
        if self._pid != os.getpid():
            self._renew()
        return self._mailbox

    @property
    def reply_to(self) -> str:
        """The name of this process's reply queue, which exists from now on."""
        mailbox = self.mailbox
        mailbox.open()
        return mailbox.name

    def store(self, records: Sequence[ResultRecord]) -> None:
        """Send the records to those who wait; those without ``reply_to`` nobody waits for."""
        mailbox = self.mailbox
        parcels = [self._parcel(each) for each in records if each.reply_to]
        if not parcels:
            return
        with self._lock:
            self._publisher.post(parcels, timeout=self._address.socket_timeout)
        if any(each.reply_to == mailbox.name for each in records):
            mailbox.read(thoroughly=True)

    def _parcel(self, record: ResultRecord) -> Parcel:
        headers = {} if record.expires is None else {"x-umbel-expires": float(record.expires)}
        content_type, content_encoding = self._content
        message = EncodedMessage(
            headers=headers,
            properties={
                "correlation_id": record.task_id,
                "delivery_mode": 2 if self._options.persistent else 1,
            },
            body=record.document,
            content_type=content_type,
            content_encoding=content_encoding,
        )
        # A client that has gone takes its queue along; then nobody waits.
        return Parcel(message, Target("", record.reply_to or ""), must_arrive=False)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        """Return what was sent to this process under these ids."""
        mailbox = self.mailbox
        found = mailbox.kept(task_ids)
        if task_ids and not all(each in found and found[each].final for each in task_ids):
            mailbox.read(thoroughly=True)
            found = mailbox.kept(task_ids)
        return found

    def open_watcher(self) -> AmqpWatcher:
        return AmqpWatcher(self.mailbox)

    def forget(self, task_ids: Sequence[str]) -> None:
        mailbox = self.mailbox
        if task_ids:
            mailbox.read(thoroughly=True)
        mailbox.forget(task_ids)

    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:  # noqa: ARG002
        raise self._no_groups()

    def fetch_group(self, group_id: str) -> bytes | None:  # noqa: ARG002
        raise self._no_groups()

    def forget_group(self, group_id: str) -> None:  # noqa: ARG002
        raise self._no_groups()

    def _no_groups(self) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            "rpc:// cannot remember groups, as Celery's cannot: results go to who sent the task, "
            "and nobody keeps them. Use another result store, such as redis://."
        )

    def ping(self) -> str:
        mailbox = self.mailbox
        mailbox.open()
        return mailbox.product

    def close(self) -> None:
        if self._pid == os.getpid():
            self._mailbox.close()
            with self._lock:
                self._publisher.close()


class AmqpWatcher(Watcher):
    """One thread at a time, except ``wake``. All watchers of a process share its mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._pipe = SelfPipe()
        self._generation = -1
        self._woken = False
        self._listener = Listener(self._pipe)
        mailbox.add(self._listener)

    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        mailbox = self._mailbox
        self._listener.watched.update(task_ids)
        found = mailbox.kept(task_ids)
        if task_ids and len(found) < len(set(task_ids)):
            mailbox.read(thoroughly=True)
            found = mailbox.kept(task_ids)
            # Told now, so not again.
            told = self._listener.told
            told[:] = [each for each in told if each.task_id not in found]
        return found

    def unwatch(self, task_ids: Sequence[str]) -> None:
        gone = set(task_ids)
        self._listener.watched -= gone
        told = self._listener.told
        told[:] = [each for each in told if each.task_id not in gone]

    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        deadline = time.monotonic() + timeout
        mailbox, listener = self._mailbox, self._listener
        while True:
            mailbox.read()
            if listener.told:
                told, listener.told = listener.told, []
                return told
            if self._woken:
                self._woken = False
                return ()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return ()
            if not mailbox.readable():
                self._wait(remaining)

    def _wait(self, seconds: float) -> None:
        mailbox = self._mailbox
        line = mailbox.fileno()
        if self._generation != mailbox.generation:
            # Race: ring() against this exchange of pipes: the listener's pipe is the new one before
            # what was told is looked at again, so a ring at the old one is not missed.
            self._generation = mailbox.generation
            former, self._pipe = self._pipe, SelfPipe(line)
            self._listener.pipe = self._pipe
            former.close()
            if self._listener.told or self._woken:
                return
        self._pipe.wait(seconds)

    def wake(self) -> None:
        self._woken = True
        self._pipe.ring()

    def close(self) -> None:
        self._mailbox.remove(self._listener)
        self._pipe.close()
