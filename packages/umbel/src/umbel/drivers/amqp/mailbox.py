"""The reply queue of this process, and what has come into it.

``result_backend`` has one for each process and every one of its watchers shares it. Celery's
``rpc://``: the name of the queue is the ``reply_to`` of every message sent, workers publish each
state there, and only we can read it, once. So what was read is kept here, as long as it holds and
up to ``KEPT`` results.

Any thread may call; whoever waits does the reading, and tells the others.
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections.abc import Sequence

import msgspec
from pamqp import commands

from umbel.drivers.amqp.address import Address
from umbel.drivers.amqp.connection import BACKEND, Connection
from umbel.drivers.amqp.declaring import Declarer
from umbel.drivers.amqp.frames import Delivered
from umbel.drivers.documents import record_of
from umbel.drivers.selfpipe import SelfPipe
from umbel.model.outcome import ResultRecord

KEPT = 100_000
"""Results kept in memory at most; the oldest go first."""
_CHANNEL, _DECLARING = 1, 2
_DAY = 86400.0
_UNREAD = 3600.0
"""Seconds after which the broker drops the queue of a process that has gone."""


class Listener(msgspec.Struct, eq=False, weakref=True):
    """One watcher: what it watches, what it was told, and how it is woken."""

    pipe: SelfPipe
    watched: set[str] = msgspec.field(default_factory=set)
    told: list[ResultRecord] = msgspec.field(default_factory=list)


class Mailbox:
    """Thread-safe, for one process: a forked child makes its own."""

    def __init__(self, address: Address, expires: float | None) -> None:
        """``expires``: how long results are kept that say nothing else, in seconds."""
        self.name = str(uuid.uuid4())
        self._address = address
        self._expires = expires or _DAY
        self._lock = threading.RLock()
        self._connection = Connection(address, BACKEND)
        self._declarer = Declarer(self._connection, _DECLARING)
        self._generation = -1
        self._kept: dict[str, tuple[float, ResultRecord]] = {}
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    # --- the queue ----------------------------------------------------------------------------

    def open(self) -> None:
        """Have the queue, and be sent what comes into it. Raises BackendUnavailable."""
        with self._lock:
            connection = self._connection
            if connection.connected and connection.generation == self._generation:
                return
            deadline = self._deadline()
            connection.ensure(deadline)
            try:
                connection.open_channel(_CHANNEL, deadline)
                self._declarer.call(
                    self._declaration(), commands.Queue.DeclareOk, self._what, deadline
                )
                consume = commands.Basic.Consume(
                    queue=self.name, consumer_tag=self.name, no_ack=True, nowait=False
                )
                connection.call(_CHANNEL, consume, commands.Basic.ConsumeOk, deadline)
            except BaseException:
                connection.drop()
                raise
            self._generation = connection.generation

    def _declaration(self, *, passive: bool = False) -> commands.Queue.Declare:
        life = max(1, round(min(self._expires, _UNREAD) * 1000))
        # Celery's is deleted with its last consumer, too. This one outlives a lost connection.
        return commands.Queue.Declare(
            queue=self.name,
            durable=True,
            passive=passive,
            arguments={} if passive else {"x-expires": life},
        )

    @property
    def _what(self) -> str:
        return f"reply queue {self.name!r}"

    def read(self, *, thoroughly: bool = False) -> None:
        """Take in what has come; ``thoroughly`` all that the broker has. Raises as ``open``."""
        with self._lock:
            self.open()
            if thoroughly:
                # Two questions: at the first answer the queue has handed all it had to our channel,
                # at the second the channel has sent it.
                for _ in range(2):
                    look = self._declaration(passive=True)
                    self._declarer.call(
                        look, commands.Queue.DeclareOk, self._what, self._deadline()
                    )
            self._connection.take()
            heard: list[ResultRecord] = []
            events = self._connection.events
            while events:
                event = events.popleft()
                if isinstance(event, Delivered):
                    heard += self._keep(event)
            for listener in list(self._listeners):
                ours = [record for record in heard if record.task_id in listener.watched]
                if ours:
                    listener.told += ours
                    listener.pipe.ring()

    def _keep(self, event: Delivered) -> Sequence[ResultRecord]:
        task_id = event.properties.correlation_id
        if not task_id:
            return ()
        record = record_of(task_id, event.body)
        expires = (event.properties.headers or {}).get("x-umbel-expires")
        life = float(expires) if isinstance(expires, int | float) else self._expires
        known = self.kept([task_id]).get(task_id)
        if known is not None and known.state == "SUCCESS":
            return ()
        self._kept.pop(task_id, None)
        self._kept[task_id] = (time.monotonic() + life, record)
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return (record,)

    # --- what has come ------------------------------------------------------------------------

    def kept(self, task_ids: Sequence[str]) -> dict[str, ResultRecord]:
        """Return what was read of these and has not expired."""
        now = time.monotonic()
        found: dict[str, ResultRecord] = {}
        with self._lock:
            for task_id in task_ids:
                until, record = self._kept.get(task_id, (0.0, None))
                if record is not None and until > now:
                    found[task_id] = record
                else:
                    self._kept.pop(task_id, None)
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        """Keep these no longer."""
        with self._lock:
            for task_id in task_ids:
                self._kept.pop(task_id, None)

    def add(self, listener: Listener) -> None:
        """Tell this watcher, too, from now on."""
        with self._lock:
            self._listeners.add(listener)

    def remove(self, listener: Listener) -> None:
        """Tell this watcher no more."""
        with self._lock:
            self._listeners.discard(listener)

    def fileno(self) -> int:
        """Return the descriptor to wait on. Raises as ``open``."""
        with self._lock:
            self.open()
            return self._connection.fileno()

    @property
    def generation(self) -> int:
        """Another number after every new connection."""
        return self._connection.generation

    def readable(self) -> bool:
        """Tell whether something has come that was not read."""
        return self._connection.readable()

    @property
    def product(self) -> str:
        """What the broker said it is."""
        return self._connection.product

    def close(self) -> None:
        """Let go of the connection; what was read is kept."""
        with self._lock:
            self._connection.close()

    def _deadline(self) -> float:
        return time.monotonic() + self._address.connect_timeout + self._address.socket_timeout
