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
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from umbel.errors import NotSupported

if TYPE_CHECKING:
    from umbel.model.assignment import Assignment, Interrupt, PoolEvent
    from umbel.model.bus import Mailbox, Notice
    from umbel.model.delivery import Delivery, Receipt, Settlement
    from umbel.model.join import JoinParts, JoinStep
    from umbel.model.message import TaskMessage
    from umbel.model.migrations import MigrationStep
    from umbel.model.outcome import Outcome, ResultRecord
    from umbel.model.pool_condition import PoolCondition
    from umbel.model.presence import Presence
    from umbel.model.queues import FollowUp, Outgoing, Queue, QueueStats
    from umbel.model.revocation import Revocation
    from umbel.model.schedule_entry import ScheduleChange, Scheduled
    from umbel.model.shelves import Aside, Page, Selection, Shelf, Shelved, Withdrawal

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
    quarantine: bool = False
    """``shelves`` shows what was set aside, and takes ``set_aside``."""
    resting: bool = False
    """``shelves`` shows what rests until a later time."""
    highest_first: bool = False
    """The greatest priority in a message is the most urgent, as RabbitMQ and Celery have it there;
    else 0 is. The drivers map, so in the profile ``umbel`` it is 0 on every broker."""
    delay_step: float = 0.0
    """Seconds to a whole number of which delays are rounded up."""
    pushes: bool = False
    """The broker sends messages by itself: ``exchange``, and ``receive`` without a timeout, return
    what has come so far; and a message given back may come to the same consumer first, which lets
    go of it when it next waits without asking for any."""
    counts_all: bool = True
    """``stats`` tells what is claimed and what rests, and ``purge`` drops what rests."""
    transactions: bool = False
    """``publish_within`` takes part in the caller's own transaction."""


class Broker(ABC):
    """Where task messages rest between client and worker. Thread-safe; cheap to hold."""

    capabilities: Capabilities

    @abstractmethod
    def declare(self, queues: Sequence[Queue]) -> None:
        """Make the queues exist. Idempotent."""

    @abstractmethod
    def open_publisher(self) -> Publisher:
        """Return a new publisher."""

    def publish_within(
        self,
        transaction: Any,  # noqa: ARG002 - for those who override it
        outgoing: Sequence[Outgoing],  # noqa: ARG002
    ) -> None:
        """Write messages in the open transaction of a connection that is the caller's.

        They are there for consumers once the caller commits, and never if it rolls back. Nothing
        is committed here. Raises NotSupported where the broker cannot take part
        (``capabilities.transactions``), InvalidOption where ``transaction`` is nothing it knows.
        What the caller's own connection raises is passed on as it is.
        """
        raise NotSupported(
            f"{type(self).__name__} cannot take part in your transaction, so the message could be "
            "sent although it is rolled back: set outbox_url to the URL of your database (a row "
            "is written there, and sent from it), or send after the commit."
        )

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

        ``results`` is where the records and joins of a settlement go. Where it is the same store
        as the broker the settlement is one atomic step; elsewhere the order is records, joins,
        follow-ups, verdict, so that a crash repeats work and never forgets it.
        """

    def shelves(
        self,
        results: ResultBackend | None = None,  # noqa: ARG002 - for those who override it
    ) -> Shelves:
        """Return the way to what rests in the queues with nobody holding it.

        ``results`` is where the records of a withdrawal go. Raises NotSupported where the broker
        has none: ``capabilities.quarantine`` and ``.resting`` say what can be looked at.
        """
        raise NotSupported(
            f"{type(self).__name__} cannot show what was set aside or rests until a later time: "
            "look with the tools of the broker itself."
        )

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

    def migrator(self) -> Migrator | None:
        """Return the way to this store's tables; None where there are none to look after."""
        return None

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


class Shelves(ABC):
    """What was set aside and what rests until its time, for people and tools. Thread-safe.

    Nothing here is on the way of a task. No call holds the broker for long: what is long comes
    page by page. A shelf that the broker cannot show (``Capabilities``) raises NotSupported.
    """

    @abstractmethod
    def page(
        self, shelf: Shelf, queue: str, selection: Selection, *, after: str | None, limit: int
    ) -> Page:
        """Return up to ``limit`` messages of a shelf, in its order, from where ``after`` says.

        ``after`` is None for the first page, else what the page before it told. What rests there
        from the first page to the last without being moved is told exactly once, whatever comes
        and goes meanwhile.
        """

    @abstractmethod
    def fetch(self, shelf: Shelf, queue: str, ids: Sequence[str]) -> Sequence[Shelved]:
        """Return those of these messages that are there, each once."""

    @abstractmethod
    def withdraw(
        self, shelf: Shelf, queue: str, withdrawals: Sequence[Withdrawal]
    ) -> Sequence[str]:
        """Take messages off a shelf; return the ids of those that were there.

        Each is one atomic step with where it goes: a message is on the shelf or in its queue,
        never in both and never in neither, whenever the caller dies. Two callers that withdraw the
        same message do it once. What leaves the quarantine for its queue has no deliveries any
        more; what leaves the delayed keeps its own.

        Records are stored and results forgotten in the same step where the results rest in the
        same store; elsewhere before it, so that a crash leaves a message too many on the shelf and
        never a result that nobody writes.
        """

    @abstractmethod
    def set_aside(self, asides: Sequence[Aside]) -> None:
        """Put messages into quarantine that nobody has a claim on any more."""


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

    def reconnect(self) -> None:  # noqa: B027 - nothing to do is right where there is no connection
        """Let go of the connection, which may be deaf; the next call makes a new one.

        Claims stay ours where they are leases.
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

    @property
    def reply_to(self) -> str | None:
        """Where results are sent that this process waits for, or None where a store keeps them.

        Senders put it into their messages; the records of a run carry it. May have to reach the
        service the first time: raises OperationalError.
        """
        return None

    # Where it cannot count, chords are refused when they are sent: a store without these is whole.

    counts_joins: ClassVar[bool] = False
    """Whether ``join`` and ``fetch_join`` are there, so that chords may rest here."""

    def join(self, steps: Sequence[JoinStep]) -> Sequence[FollowUp]:
        """Perform these steps in one atomic step; return what is to be sent because of them.

        For callers whose messages rest elsewhere, and for senders. What follows a join is returned
        to whoever fills its last slot, and, until the join is closed, to whoever fills any of its
        slots again: so a caller that was killed before it sent what it was given loses nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot count the header of a chord")

    def fetch_join(self, join_id: str) -> JoinParts | None:
        """Return what is known of a join, or None where nothing is."""
        raise NotImplementedError(f"{type(self).__name__} cannot count the header of a chord")

    def migrator(self) -> Migrator | None:
        """As ``Broker.migrator``."""
        return None

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


# --- what may be lost -----------------------------------------------------------------------------


class Bus(ABC):
    """Commands to workers, their replies, and events: all that may be lost. Thread-safe.

    Nothing that decides a task's fate travels here. Who listens hears what is told from then on;
    who is away, or too slow, misses it.
    """

    @abstractmethod
    def open_line(self, mailboxes: Sequence[Mailbox] = ()) -> Line:
        """Return a new line that hears what is told to these mailboxes, and may tell.

        It listens from its first ``listen`` or ``receive`` on.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection. The bus may be used again afterwards."""


class Line(ABC):
    """One listener and speaker. One thread at a time, except ``wake``."""

    @abstractmethod
    def listen(self, timeout: float) -> None:
        """Begin to listen, or do so again after a lost connection; ``receive`` does it as well.

        Once it returns, everything that is told reaches this line. Raises BrokerUnavailable.
        """

    @abstractmethod
    def tell(self, notices: Sequence[Notice], *, timeout: float) -> int | None:
        """Send these; return how many mailboxes the last of them reached, None where unknown.

        A notice that nobody listens for is gone. Raises BrokerUnavailable or OutcomeUnknown; some
        may have been told then.
        """

    @abstractmethod
    def receive(self, timeout: float) -> Sequence[Notice]:
        """Return what was told to the mailboxes, waiting up to ``timeout`` for the first.

        What arrived and cannot be read as an envelope is left out, with a line in the log.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make the waiting ``receive`` return now, or the next one where none waits. Any thread."""

    @abstractmethod
    def close(self) -> None:
        """Take the mailboxes away. What waits in them is gone."""


# --- where the schedule rests ---------------------------------------------------------------------


class ScheduleStore(ABC):
    """Remembers the entries of one timetable, and how far each has got. Thread-safe.

    It knows nothing of time. Any number of schedulers may run on it: each says what it wants to
    change and from which state, and one of them is heard.
    """

    @abstractmethod
    def entries(self) -> Mapping[str, Scheduled]:
        """Return every entry by its name."""

    @abstractmethod
    def change(self, changes: Sequence[ScheduleChange]) -> Sequence[bool]:
        """Make each of these changes, or refuse it, in one atomic step each.

        A change is refused when its entry does not stand at the revision that it names. What it
        sends is sent in that same step. Raises OperationalError; OutcomeUnknown where some may
        have been made (asking again by ``entries`` tells).
        """

    @abstractmethod
    def version(self) -> int:
        """Return a number that is another one after every change. Cheap."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection. The store may be used again afterwards."""


# --- tables that change with releases -------------------------------------------------------------


class Migrator(ABC):
    """The numbered steps of a store's tables, for ``umbel migrate``.

    A ``pre`` step leaves programs of the release before it at work; a ``post`` step may not.
    """

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the tables are, for people and without a password; equal for equal tables."""

    @abstractmethod
    def steps(self) -> Sequence[MigrationStep]:
        """Return every step that the store has seen or this release knows, in order."""

    @abstractmethod
    def fault(self) -> str | None:
        """Return why this release cannot work with the tables, as a sentence, or None."""

    @abstractmethod
    def apply(self, phases: Sequence[str]) -> Sequence[MigrationStep]:
        """Apply what is pending of these phases, all or nothing; return it.

        Processes that do so at once do it once. Raises ImproperlyConfigured where a newer release
        has changed the tables, or the user may not; BrokerUnavailable.
        """


# --- one technology, opened -----------------------------------------------------------------------


class Driver(ABC):
    """One technology. Made from a URL and options; offers the ports that it can."""

    @abstractmethod
    def broker(self) -> Broker:
        """Return the broker. Raises ImproperlyConfigured where the technology cannot be one."""

    @abstractmethod
    def result_backend(self) -> ResultBackend:
        """Return the result backend. Raises ImproperlyConfigured where it cannot be one."""

    def bus(self) -> Bus | None:
        """Return the bus; None where the technology has none: no events, no remote control."""
        return None

    def schedule_store(self, timetable: str) -> ScheduleStore | None:  # noqa: ARG002 - see below
        """Return the store of the timetable so named; None where the technology keeps none.

        What its changes send goes to the queues of this driver's broker.
        """
        return None


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
        """Stop one assignment. False when it is not here, or this pool cannot.

        Any but ``HARD`` may be ignored by the task. ``REVOKE``: what has not begun comes back as
        Returned; what runs finds ``task.cancelled()`` true, as after every other one.
        ``TERMINATE``: ``reason`` is the name of a signal; where an executor has one slot its
        process gets it, elsewhere Terminated is raised inside the task. ``HARD`` ends it for
        certain: what ran in the same executor gets a moment to end, then comes back as innocent.
        """

    @abstractmethod
    def running(self) -> Mapping[int, int]:
        """Return the assignments that run now, as far as is known, and in which process (pid)."""

    @abstractmethod
    def pids(self) -> Sequence[int]:
        """Return the processes that tasks run in."""

    @abstractmethod
    def condition(self) -> PoolCondition:
        """Return how the executors are."""

    @abstractmethod
    def resize(self, change: int) -> int:
        """Have so many executor processes more, or fewer; return how many there will be.

        What runs in an executor that is one too many runs to its end; what it had not begun comes
        back as Returned. At least one stays. Raises NotSupported where the size is fixed.
        """

    @abstractmethod
    def renew(self) -> None:
        """Replace every executor by a new one, each when what it runs has ended.

        Raises NotSupported where there are none.
        """

    @abstractmethod
    def recall(self) -> None:
        """Ask for everything that was not begun; it comes back as Returned.

        Part of the end of a worker: from now on ``task.shutdown_requested`` is true in what runs.
        """

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
