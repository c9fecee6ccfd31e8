"""Claiming messages and settling the claims: a subscription for each queue, one channel for all.

``broker`` opens consumers. RabbitMQ pushes; so that nothing lies here that others could run, each
subscription has a constant prefetch of what the worker can take, and what nobody asked for within
``GRACE`` seconds goes back. A claim lives as long as its channel: the broker gives it to another
when the channel or the connection ends, and a tag of a dead channel settles nothing.

The order of a settlement is: records, what follows (confirmed), acknowledgement. So a crash
repeats work and never forgets it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from datetime import datetime

from pamqp import commands

from umbel.drivers.amqp import fleet
from umbel.drivers.amqp.address import LONGEST_HEARTBEAT, Address
from umbel.drivers.amqp.claims import Claim, Claims, Feed
from umbel.drivers.amqp.connection import BROKER, ChannelClosed, Connection
from umbel.drivers.amqp.declaring import Declarer
from umbel.drivers.amqp.frames import Delivered, Method, method_frame
from umbel.drivers.amqp.messages import again
from umbel.drivers.amqp.priorities import ranks_of
from umbel.drivers.amqp.publisher import AmqpPublisher, Parcel
from umbel.drivers.amqp.quarantine import quarantined
from umbel.drivers.amqp.refusals import NodeAway
from umbel.drivers.amqp.topology import quarantine_of
from umbel.drivers.doorbell import Doorbell
from umbel.drivers.elsewhere import stored_elsewhere
from umbel.errors import ImproperlyConfigured, OperationalError
from umbel.model.delivery import Ack, Delivery, Quarantine, Receipt, Requeue, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue
from umbel.model.revocation import Revocation
from umbel.ports import Consumer, Exchange, ResultBackend

logger = logging.getLogger(__name__)

GRACE = 0.25
"""Seconds for which messages may lie here that the worker has no room for."""
GOODBYE = 2.0
"""Seconds that ``close`` may take when the broker is away."""
_MOST_PREFETCH = 65535
_CHANNEL, _FLEET, _DECLARING = 1, 2, 3


class AmqpConsumer(Consumer):
    """Belongs to one thread, except ``wake``."""

    def __init__(
        self,
        address: Address,
        queues: Sequence[Queue],
        presence: Presence,
        lease: float,
        results: ResultBackend | None,
    ) -> None:
        self._address = address
        self._presence = presence
        self._lease = lease
        self._results = results
        beat = min(LONGEST_HEARTBEAT, max(2.0, lease))
        chosen = beat if address.heartbeat is None else address.heartbeat
        self._connection = Connection(address, BROKER, heartbeat=chosen)
        self._publisher = AmqpPublisher(address)
        self._declarer = Declarer(self._connection, _DECLARING)
        self._follower = fleet.Follower(self._connection, _FLEET, fleet.REVOCATIONS)
        unique = {queue.name: queue for queue in queues}
        scale = address.priority_scale
        feeds = [Feed(queue, ranks_of(queue, scale)) for queue in unique.values()]
        self._claims = Claims(_CHANNEL, feeds)
        self._bell = Doorbell()
        self._generation = -1
        self._turn = 0
        self._idle_since = 0.0
        self._without_fleet = False
        self._untold = False
        self._untellable = False
        self._closed = False
        try:
            self._session(self._deadline())
            self._tell()
        except BaseException:
            self._drop()
            raise

    # --- claiming -----------------------------------------------------------------------------

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deadline = time.monotonic() + timeout
        while not self._bell.answer():
            self._session(self._deadline())
            self._take_in()
            if limit > 0:
                found = self._hand_out(limit)
                if found:
                    return found
                self._subscribe(limit)
            else:
                self._give_back_if_idle()
            if self._untold:
                self._untold = False
                return ()
            remaining = self._wake_at(limit, deadline) - time.monotonic()
            if remaining > 0 and not self._connection.readable():
                self._bell.wait(self._connection, remaining)
            if time.monotonic() >= deadline:
                self._take_in()
                return self._hand_out(limit) if limit > 0 else ()
        return ()

    def _wake_at(self, limit: int, deadline: float) -> float:
        until = min(deadline, self._connection.beat_at)
        if limit <= 0 and any(feed.tag for feed in self._claims.feeds):
            until = min(until, self._idle_since + GRACE)
        return until

    def _hand_out(self, limit: int) -> list[Delivery]:
        self._turn += 1
        claims = self._claims.hand_out(limit, self._turn)
        self._idle_since = time.monotonic()
        return [claim.delivery() for claim in claims]

    def _subscribe(self, limit: int) -> None:
        """Let the broker send as much as the worker asks for.

        A subscription that lets through half of it is left as it is: to begin another costs three
        frames, and the numbers that a busy worker asks for go up and down.
        """
        claims = self._claims
        frames: list[bytes] = []
        window = min(_MOST_PREFETCH, claims.handed_out + limit)
        for feed in claims.feeds:
            if feed.tag and feed.free >= max(1, limit // 2):
                continue
            if not feed.tag:
                self._declarer.declare(feed.queue, self._deadline())
            elif feed.window >= window and feed.free > 0:
                continue
            if feed.tag:
                frames.append(self._cancel_frame(feed))
            tag = claims.subscribe(feed, window)
            consume = commands.Basic.Consume(queue=feed.queue.name, consumer_tag=tag, nowait=True)
            frames.append(method_frame(_CHANNEL, commands.Basic.Qos(prefetch_count=window)))
            frames.append(method_frame(_CHANNEL, consume))
        self._send(frames)

    def _cancel_frame(self, feed: Feed) -> bytes:
        return method_frame(_CHANNEL, commands.Basic.Cancel(feed.tag, nowait=True))

    def _give_back_if_idle(self) -> None:
        """Return what lies here for nobody, and ask for no more until somebody does."""
        subscribed = [feed for feed in self._claims.feeds if feed.tag]
        buffered = self._claims.buffered
        if not subscribed and not buffered:
            return
        if time.monotonic() - self._idle_since < GRACE:
            return
        if not buffered and not any(feed.free > 0 for feed in subscribed):
            self._idle_since = time.monotonic()  # the worker has all that the broker may send
            return
        self._send([self._cancel_frame(feed) for feed in subscribed])
        for feed in subscribed:
            self._claims.unsubscribe(feed.tag)
        self._return(buffered)

    def _return(self, claims: Sequence[Claim]) -> None:
        """Give claims back uncounted.

        A quorum queue counts what it gets back, and that count must not grow by what nobody began:
        so there they are published anew, at the back.
        """
        anew = [claim for claim in claims if claim.counted_natively]
        if anew:
            self._post([self._again(claim, claim.count - 1, None) for claim in anew])
        frames = self._claims.ack(anew)
        frames += self._claims.requeue(claim for claim in claims if not claim.counted_natively)
        self._send(frames)

    # --- what comes in ------------------------------------------------------------------------

    def _take_in(self) -> None:
        """Take in what the broker sent meanwhile. Raises BrokerUnavailable."""
        connection = self._connection
        connection.take()
        events = connection.events
        while events:
            event = events.popleft()
            if isinstance(event, Delivered):
                if event.channel == _FLEET:
                    with connection.losing():
                        self._follower.hear(event)
                    self._untold = True
                else:
                    if not self._claims.buffered:
                        self._idle_since = time.monotonic()
                    self._claims.take(event)
            elif isinstance(event, ChannelClosed):
                self._ended(event)
            elif isinstance(event, Method) and isinstance(event.method, commands.Basic.Cancel):
                # The queue was deleted, or its node is going; declared again when asked for next.
                self._claims.unsubscribe(event.method.consumer_tag or "")
                self._declarer.forget()

    def _ended(self, event: ChannelClosed) -> None:
        held = self._claims.handed_out
        self._connection.drop()
        if "timed out" in event.text:
            raise BROKER.unavailable(
                f"RabbitMQ at {self._address.url} took back {held} claims, because one was held "
                "for longer than its consumer_timeout allows: those tasks run again. Raise "
                "consumer_timeout in rabbitmq.conf above your longest task, or let that task be "
                f"acknowledged early (RabbitMQ says: {event.text[:200]})."
            )
        raise BROKER.unavailable(
            f"RabbitMQ at {self._address.url} closed the channel over {held} claims, which other "
            f"workers may take now (RabbitMQ says: {event.text[:300]})."
        )

    # --- settling -----------------------------------------------------------------------------

    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        self._session(self._deadline())
        self._take_in()
        held = {each.receipt for each in settlements if self._claims.find(each.receipt)}
        if self._results is not None:
            settlements = stored_elsewhere(self._results, settlements, held)
        found = [(each, self._claims.find(each.receipt)) for each in settlements]
        lost = tuple(each.receipt for each, claim in found if claim is None)
        ours = [(each, claim) for each, claim in found if claim is not None]
        if ours:
            self._perform(ours)
        if limit > 0:
            self._take_in()
            given = self._hand_out(limit)
            if len(given) < limit:
                self._subscribe(limit - len(given))
            return Exchange(lost, tuple(given))
        return Exchange(lost, ())

    def _perform(self, ours: Sequence[tuple[Settlement, Claim]]) -> None:
        # What only ends goes first: it must not wait where the broker takes no messages.
        plain = [
            claim
            for settlement, claim in ours
            if isinstance(settlement.verdict, Ack) and not settlement.effects.outgoing
        ]
        self._send(self._claims.ack(plain))
        if len(plain) == len(ours):
            return
        outgoing: list[Outgoing] = []
        parcels: list[Parcel] = []
        done: dict[int, Claim] = {}
        back: dict[int, Claim] = {}
        for settlement, claim in ours:
            outgoing += settlement.effects.outgoing
            match settlement.verdict:
                case Ack() if settlement.effects.outgoing:
                    done[claim.tag] = claim
                case Requeue(due_at=None, front=True, counted=False) if not claim.counted_natively:
                    back[claim.tag] = claim
                case Requeue(due_at=due_at, counted=counted):
                    tried = claim.count if counted else claim.count - 1
                    parcels.append(self._again(claim, tried, due_at))
                    done[claim.tag] = claim
                case Quarantine() as verdict:
                    parcels.append(self._aside(claim, verdict))
                    done[claim.tag] = claim
        if outgoing:
            self._publisher.publish(outgoing, timeout=self._address.socket_timeout)
        if parcels:
            self._post(parcels)
        frames = self._claims.requeue(back.values())
        frames += self._claims.ack(done.values())
        self._send(frames)

    def _again(self, claim: Claim, tried: int, due_at: datetime | None) -> Parcel:
        message = again(claim.message, tried=tried)
        return self._publisher.straight(message, claim.feed.queue, due_at)

    def _aside(self, claim: Claim, verdict: Quarantine) -> Parcel:
        queue = quarantine_of(claim.feed.queue.name)
        declare = commands.Queue.Declare(queue=queue.name, durable=True)
        self._publisher.declare(declare, timeout=self._address.socket_timeout)
        message = quarantined(
            claim.message,
            verdict,
            queue=claim.feed.queue.name,
            count=claim.count,
            worker=self._presence.name,
        )
        return self._publisher.straight(message, queue, None)

    def _post(self, parcels: Sequence[Parcel]) -> None:
        self._publisher.post(parcels, timeout=self._address.socket_timeout)

    def _send(self, frames: Sequence[bytes]) -> None:
        if frames:
            with self._connection.losing():
                self._connection.send(b"".join(frames), self._deadline())

    # --- what lives with the connection -------------------------------------------------------

    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        self._presence = presence
        self._session(self._deadline())
        self._take_in()
        forgotten = self._claims.unknown_to(receipts)
        if forgotten:
            self._return(forgotten)
        self._tell()
        return [each for each in receipts if self._claims.find(each) is None]

    def revocations(self) -> Sequence[Revocation]:
        self._untold = False
        return self._follower.revocations()

    def reconnect(self) -> None:
        # A claim lives with its connection here, and what runs must not run twice for this.
        if not self._claims.all:
            self._connection.drop()

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._connection.connected and self._generation == self._connection.generation:
                with contextlib.suppress(OperationalError):
                    self._leave(time.monotonic() + GOODBYE)
            if not self._without_fleet:
                with contextlib.suppress(OperationalError):
                    self._publisher.post([fleet.gone(self._presence.owner)], timeout=GOODBYE)
        finally:
            self._drop()

    def _leave(self, deadline: float) -> None:
        """Give everything back, and see that it is there before we say that we are gone."""
        connection, claims = self._connection, self._claims
        for feed in claims.feeds:
            if feed.tag:
                cancel = commands.Basic.Cancel(feed.tag)
                connection.call(_CHANNEL, cancel, commands.Basic.CancelOk, deadline)
        self._take_in()
        self._return(claims.all)
        for feed in claims.feeds:
            # Asks each queue on the same channel: by its answer it has what we gave back.
            look = commands.Queue.Declare(queue=feed.queue.name, passive=True)
            connection.call(_CHANNEL, look, commands.Queue.DeclareOk, deadline)

    def _drop(self) -> None:
        self._connection.close()
        self._publisher.close()
        self._bell.close()

    def _deadline(self) -> float:
        return time.monotonic() + self._address.connect_timeout + self._address.socket_timeout

    def _session(self, deadline: float) -> None:
        """Have a connection with our channels on it. Raises BrokerUnavailable."""
        connection = self._connection
        if connection.connected and connection.generation == self._generation:
            return
        self._claims.renew()
        connection.ensure(deadline)
        try:
            connection.open_channel(_CHANNEL, deadline)
            for feed in self._claims.feeds:
                self._declarer.declare(feed.queue, deadline)
                self._declarer.declare_delay(feed.queue, deadline)
            self._follow(deadline)
        except BaseException:
            connection.drop()  # half a session is none
            raise
        self._generation = connection.generation

    def _follow(self, deadline: float) -> None:
        """Read the revocations from now on. Raises OperationalError.

        Tasks run also where the streams cannot be used: the log says what does not work then, and
        ``extend`` tries again.
        """
        remaining = deadline - time.monotonic()
        try:
            for stream in (fleet.REVOCATIONS, fleet.PRESENCES):
                fleet.declare(self._publisher, stream, timeout=remaining)
        except (ImproperlyConfigured, NodeAway) as error:
            if not self._without_fleet:
                logger.warning("Neither revocations nor presences work: %s", error)
            self._without_fleet = True
            return
        self._follower.follow(self._publisher, "first", deadline)
        if self._without_fleet:
            logger.info("Revocations and presences work again")
        self._without_fleet = False

    def _tell(self) -> None:
        """Tell of our presence, unless the broker takes nothing: our claims hold all the same."""
        try:
            if self._without_fleet:
                self._follow(self._deadline())
            if self._without_fleet:
                return
            self._post([fleet.present(self._presence, self._lease)])
        except OperationalError as error:
            if not self._publisher.blocked:
                raise
            if not self._untellable:
                logger.warning("Nobody hears of this worker for now: %s", error)
            self._untellable = True
        else:
            self._untellable = False
