"""The seams of Umbel: everything that can be replaced, and nothing else.

Read this file first. Whatever talks to the world outside the process does so behind one of these
classes; whatever implements one of them passes the suite of the same name in
``umbel.testing.conformance``.

Rules common to all of them:

* A factory (``Broker``, ``ResultBackend``) is thread-safe and survives a fork by making new
  connections in the child. A consumer belongs to the thread that opened it; a publisher and a
  watcher are used by one thread at a time, and may be handed from thread to thread. The methods
  that any thread may call at any time say so.
* A method that loses contact raises ``OperationalError`` (one of its subclasses) and leaves the
  object usable: calling again reconnects. Nothing is retried silently underneath.
* Methods that act on many things take many things: a batch of one is the special case.
* Durations are float seconds, moments aware datetimes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from umbel.model.assignment import Assignment, Interrupt, PoolEvent
    from umbel.model.delivery import Delivery, Receipt, Settlement
    from umbel.model.message import TaskMessage
    from umbel.model.outcome import Outcome, ResultRecord
    from umbel.model.presence import Presence
    from umbel.model.queues import Outgoing, Queue, QueueStats
    from umbel.model.revocation import Revocation

# --- where task messages rest ---------------------------------------------------------------------


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker does by itself. Upper floors branch on these, never on the broker's name."""

    delay: bool
    """``Outgoing.due_at`` and ``Requeue.due_at`` rest in the store."""
    priority: bool
    lease: bool
    """A claim lives for the lease given to ``open_consumer``; else as long as the connection."""
    celery_peers: bool
    """Real Celery processes may send to and consume from the same queues."""


class Broker(ABC):
    """Where task messages rest between client and worker. Thread-safe; cheap to hold."""

    capabilities: Capabilities

    @abstractmethod
    def declare(self, queues: Sequence[Queue]) -> None:
        """Make the queues exist. Idempotent."""

    @abstractmethod
    def open_publisher(self) -> Publisher:
        """Return a new publisher."""

    @abstractmethod
    def open_consumer(
        self,
        queues: Sequence[Queue],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None = None,
    ) -> Consumer:
        """Return a consumer for the calling thread.

        ``presence.owner`` is the incarnation every claim is tied to. A claim not extended for
        ``lease`` seconds may be rescued by any other consumer of the queue.

        ``results`` is where the records of a settlement go. Where it is the same store as the
        broker the settlement is one atomic step; elsewhere the order is records, follow-ups,
        verdict, so that a crash repeats work and never forgets it.
        """

    @abstractmethod
    def stats(self, queues: Sequence[str]) -> Sequence[QueueStats]:
        """Return what lies in each of these queues."""

    @abstractmethod
    def purge(self, queue: str) -> int:
        """Drop every message nobody has claimed, resting ones too; return how many."""

    @abstractmethod
    def revoke(self, revocations: Sequence[Revocation], *, keep: float) -> None:
        """Remember for ``keep`` seconds that these ids must not run; wake the workers."""

    @abstractmethod
    def presences(self) -> Sequence[Presence]:
        """Return every worker whose lease is alive."""

    @abstractmethod
    def ping(self) -> str:
        """Reach the broker once; return its product and version, such as ``Redis 7.0.15``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection. The broker may be used again afterwards."""


class Publisher(ABC):
    """Hands messages over. One thread at a time; it need not be the one that opened it."""

    @abstractmethod
    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        """Return once the broker holds every message; any number in few round trips.

        ``timeout`` covers connecting, sending and confirmation. Raises BrokerUnavailable when
        nothing was sent, OutcomeUnknown when something may have arrived (the caller may repeat
        the call: consumers then see duplicates rather than losses), Unroutable.
        """

    @abstractmethod
    def close(self) -> None: ...


class Exchange(msgspec.Struct, frozen=True):
    """What one exchange with the store brought."""

    lost: tuple[Receipt, ...]
    """Receipts whose claim was no longer ours; their effects were refused."""
    deliveries: tuple[Delivery, ...]


class Consumer(ABC):
    """Claims messages and settles the claims. Belongs to one thread, except ``wake``."""

    @abstractmethod
    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        """Claim up to ``limit`` messages, waiting at most ``timeout`` seconds for the first.

        Claiming is one atomic step at the broker: there is no moment at which a crash loses one.
        Order: more urgent first, then first in, first out; queues take turns. Messages whose time
        has come are moved to their queue, claims of dead owners are rescued, on the way. With
        ``limit`` 0 it waits for ``wake`` or the timeout.
        """

    @abstractmethod
    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        """Settle these and claim up to ``limit`` more without waiting, in one round trip."""

    @abstractmethod
    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        """Renew the leases and what is told about this worker; return the receipts not ours.

        ``receipts`` is everything this consumer holds: a claim of this owner that is not among
        them goes back to the front of its queue, uncounted. So a reply that was lost on the way
        leaves no claim that nobody knows of.
        """

    @abstractmethod
    def revocations(self) -> Sequence[Revocation]:
        """Return what was revoked since the last call (at first: everything still kept).

        Costs no round trip when ``receive``, ``exchange`` or ``extend`` saw no change.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make a waiting ``receive`` return now. Any thread, and signal handlers, may call it."""

    @abstractmethod
    def close(self) -> None:
        """Return every unsettled claim to the front of its queue, uncounted; end the lease."""


# --- where results rest ---------------------------------------------------------------------------


class ResultBackend(ABC):
    """Remembers how tasks ended. Thread-safe."""

    @abstractmethod
    def store(self, records: Sequence[ResultRecord]) -> None:
        """Write the records and wake who waits for them. SUCCESS is never overwritten."""

    @abstractmethod
    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        """Return what is there now; ids without a document are absent."""

    @abstractmethod
    def open_watcher(self) -> Watcher:
        """Return a new watcher."""

    @abstractmethod
    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete the documents. Ids without one are ignored."""

    @abstractmethod
    def store_group(self, group_id: str, document: bytes, expires: float | None) -> None:
        """Remember the members of a group, as an encoded document."""

    @abstractmethod
    def fetch_group(self, group_id: str) -> bytes | None:
        """Return what ``store_group`` was given, or None."""

    @abstractmethod
    def forget_group(self, group_id: str) -> None: ...

    @abstractmethod
    def ping(self) -> str:
        """Reach the store once; return its product and version."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection. The backend may be used again afterwards."""


class Watcher(ABC):
    """Hears of results as they are stored. One thread at a time, except ``wake``.

    It need not be the thread that opened it: whoever waits for a result does the listening.
    """

    @abstractmethod
    def watch(self, task_ids: Sequence[str]) -> Mapping[str, ResultRecord]:
        """Hear of these from now on, and return what is already there.

        Listening begins before reading: no result falls between the two.
        """

    @abstractmethod
    def unwatch(self, task_ids: Sequence[str]) -> None: ...

    @abstractmethod
    def receive(self, timeout: float) -> Sequence[ResultRecord]:
        """Return what was stored under a watched id, waiting up to ``timeout`` for the first.

        States that are not final are told too. After a lost connection every watched id is read
        again, so nothing stays unheard; one record may then be told twice.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make the waiting ``receive`` return now, or the next one where none waits.

        Any thread may call it.
        """

    @abstractmethod
    def close(self) -> None: ...


# --- one technology, opened -----------------------------------------------------------------------


class Driver(ABC):
    """One technology. Made from a URL and options; offers the ports that it can."""

    @abstractmethod
    def broker(self) -> Broker:
        """Return the broker. Raises ImproperlyConfigured where the technology cannot be one."""

    @abstractmethod
    def result_backend(self) -> ResultBackend:
        """Return the result backend. Raises ImproperlyConfigured where it cannot be one."""


# --- where tasks run ------------------------------------------------------------------------------


class Pool(ABC):
    """Runs assignments: in processes, threads, coroutines, greenlets, or right here.

    Belongs to the supervisor's main thread. Never waits, except where ``timeout`` is given.
    """

    @abstractmethod
    def start(self) -> None:
        """Start the executors."""

    @abstractmethod
    def capacity(self) -> int:
        """How many assignments it takes in all: slots, and look-ahead where tasks are short."""

    @abstractmethod
    def room(self) -> int:
        """How many assignments it takes now."""

    @abstractmethod
    def submit(self, assignments: Sequence[Assignment]) -> None:
        """Hand these to executors. Callers submit at most ``room()``."""

    @abstractmethod
    def poll(self, timeout: float) -> Sequence[PoolEvent]:
        """Wait up to ``timeout`` seconds, or for ``wake``; return what happened.

        Every assignment ends in exactly one Report, Returned or Lost.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make a waiting ``poll`` return now. Any thread, and signal handlers, may call it."""

    @abstractmethod
    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:
        """Stop one assignment. False when it is not here, or this pool cannot."""

    @abstractmethod
    def recall(self) -> None:
        """Ask for everything that was not begun; it comes back as Returned."""

    @abstractmethod
    def stop(self) -> None:
        """End every executor now. What it held comes back from ``poll`` as Lost or Returned."""

    @abstractmethod
    def close(self) -> None:
        """Let idle executors end by themselves and wait for them, briefly."""


# --- how values become bytes, and what may stand around a call ------------------------------------


class Serializer(ABC):
    """Turns values into bytes and back. Stateless, so any thread may use it."""

    name: str
    content_type: str
    content_encoding: str

    @abstractmethod
    def dumps(self, value: Any) -> bytes:
        """Raises EncodeError, naming the value and its place."""

    @abstractmethod
    def loads(self, data: bytes) -> Any:
        """Raises DecodeError."""


class Middleware:
    """Wraps sending and running. The one way to extend either; first added is outermost.

    What Umbel promises (retries, results, acks, limits) is never middleware. An exception leaving
    a middleware fails the send or the run like any other: nothing is swallowed.
    """

    def around_send(self, message: TaskMessage, send: Callable[[TaskMessage], None]) -> None:
        send(message)

    def around_run(
        self,
        message: TaskMessage,  # noqa: ARG002 - for those who override it
        run: Callable[[], Outcome],
    ) -> Outcome:
        return run()
