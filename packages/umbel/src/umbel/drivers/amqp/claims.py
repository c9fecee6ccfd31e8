"""What a consumer holds: claims, those handed out and those still in the buffer, and their tags.

Used by ``consumer``. Opens no socket and sends nothing: it says which frames settle what.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable

import msgspec

from umbel.drivers.amqp.frames import Delivered, ack_frame, requeue_frame
from umbel.drivers.amqp.messages import NATIVE_COUNT, message_of, raw_of, tried_before
from umbel.drivers.amqp.priorities import AS_THEY_ARE, Ranks
from umbel.drivers.amqp.topology import is_quorum
from umbel.model.delivery import Delivery, Receipt
from umbel.model.message import EncodedMessage
from umbel.model.queues import Queue


class Claim(msgspec.Struct, eq=False):
    """One unacknowledged message. ``count`` includes this claim."""

    tag: int
    receipt: Receipt
    feed: Feed
    consumer_tag: str
    message: EncodedMessage
    count: int
    redelivered: bool
    handed_out: bool = False

    def delivery(self) -> Delivery:
        """Return the claim as the worker sees it."""
        queue = self.feed.queue.name
        raw = raw_of(self.message)
        return Delivery(self.receipt, queue, raw, self.count, self.redelivered)

    @property
    def counted_natively(self) -> bool:
        """Whether the broker counts when it gets the message back: a quorum queue's."""
        return is_quorum(self.feed.queue) or NATIVE_COUNT in self.message.headers


class Feed(msgspec.Struct, eq=False):
    """One queue, and the subscription to it.

    ``window`` is the prefetch of the subscription ``tag``, constant as long as that lives; ``out``
    how many of its messages are not settled. ``tag`` is empty while there is none.
    """

    queue: Queue
    ranks: Ranks = AS_THEY_ARE
    tag: str = ""
    window: int = 0
    out: int = 0
    buffer: deque[Claim] = msgspec.field(default_factory=deque)

    @property
    def free(self) -> int:
        """How many messages more the broker may send unasked."""
        return self.window - self.out if self.tag else 0


class Claims:
    """The claims of one channel, oldest first. Belongs to one thread."""

    def __init__(self, channel: int, feeds: Iterable[Feed]) -> None:
        self._channel = channel
        self.feeds = list(feeds)
        self._by_tag: dict[int, Claim] = {}
        self._by_receipt: dict[str, Claim] = {}
        self._feeds: dict[str, Feed] = {}
        self._name = ""
        self._number = 0
        self.renew()

    def renew(self) -> None:
        """Forget every claim: the channel is gone, and the broker has given them back."""
        self._name = os.urandom(6).hex()
        self._by_tag.clear()
        self._by_receipt.clear()
        self._feeds.clear()
        for feed in self.feeds:
            feed.tag = ""
            feed.window = feed.out = 0
            feed.buffer.clear()

    # --- subscriptions ------------------------------------------------------------------------

    def subscribe(self, feed: Feed, window: int) -> str:
        """Note a new subscription; return its tag. What comes for a former one is still taken."""
        self._number += 1
        feed.tag = f"umbel-{self._number}"
        feed.window, feed.out = window, 0
        self._feeds[feed.tag] = feed
        return feed.tag

    def unsubscribe(self, tag: str) -> None:
        """Note that a subscription has ended, by us or by the broker."""
        feed = self._feeds.get(tag)
        if feed is not None and feed.tag == tag:
            feed.tag = ""
            feed.window = feed.out = 0

    # --- coming in ----------------------------------------------------------------------------

    def take(self, event: Delivered) -> None:
        """Put a message that came into the buffer of its queue."""
        feed = self._feeds[event.consumer_tag]
        message = message_of(event, feed.ranks)
        tried = tried_before(message.headers)
        claim = Claim(
            event.tag,
            Receipt(f"{self._name}.{event.tag}"),
            feed,
            event.consumer_tag,
            message,
            tried + 1,
            event.redelivered or tried > 0,
        )
        if claim.consumer_tag == feed.tag:
            feed.out += 1
        self._by_tag[event.tag] = claim
        self._by_receipt[claim.receipt] = claim
        feed.buffer.append(claim)

    @property
    def buffered(self) -> list[Claim]:
        """What came and was not handed out yet."""
        return [claim for feed in self.feeds for claim in feed.buffer]

    @property
    def handed_out(self) -> int:
        """How many claims the worker has."""
        return len(self._by_tag) - sum(len(feed.buffer) for feed in self.feeds)

    def hand_out(self, limit: int, turn: int) -> list[Claim]:
        """Take up to ``limit`` claims out of the buffers: urgent first, queues in turns."""
        waiting = [feed for feed in self.feeds if feed.buffer]
        given: list[Claim] = []
        while waiting and len(given) < limit:
            if len(waiting) == 1:
                feed = waiting[0]
            else:
                turn += 1
                feed = max(
                    (waiting[(turn + i) % len(waiting)] for i in range(len(waiting))), key=_urgency
                )
            claim = feed.buffer.popleft()
            claim.handed_out = True
            given.append(claim)
            if not feed.buffer:
                waiting.remove(feed)
        return given

    # --- going out ----------------------------------------------------------------------------

    def find(self, receipt: str) -> Claim | None:
        """Return the claim that the worker has under this receipt, if it is still ours."""
        claim = self._by_receipt.get(receipt)
        return claim if claim is not None and claim.handed_out else None

    def unknown_to(self, receipts: Iterable[str]) -> list[Claim]:
        """Return the claims that the worker should have and does not know of."""
        known = set(receipts)
        return [
            claim
            for claim in self._by_tag.values()
            if claim.handed_out and claim.receipt not in known
        ]

    def requeue(self, claims: Iterable[Claim]) -> list[bytes]:
        """Return the frames that give these back, the first of them to the very front."""
        # The broker puts each where it was, or as near to the front as it can: the last goes first.
        given = sorted(claims, key=lambda each: each.tag, reverse=True)
        for claim in given:
            self._drop(claim)
        return [requeue_frame(self._channel, claim.tag) for claim in given]

    def ack(self, claims: Iterable[Claim]) -> list[bytes]:
        """Return the frames that acknowledge these: one for as many as come first of all."""
        done = {claim.tag for claim in claims}
        if not done:
            return []
        oldest = 0
        together = 0
        for tag in self._by_tag:
            if tag not in done:
                break
            oldest = tag
            together += 1
        frames: list[bytes] = []
        if together:
            frames.append(ack_frame(self._channel, oldest, multiple=together > 1))
        frames += [ack_frame(self._channel, tag) for tag in sorted(done) if tag > oldest]
        for tag in done:
            self._drop(self._by_tag[tag])
        return frames

    def _drop(self, claim: Claim) -> None:
        del self._by_tag[claim.tag]
        del self._by_receipt[claim.receipt]
        if not claim.handed_out:
            claim.feed.buffer.remove(claim)
        if claim.consumer_tag == claim.feed.tag:
            claim.feed.out -= 1

    @property
    def all(self) -> list[Claim]:
        """Every claim, oldest first."""
        return list(self._by_tag.values())


def _urgency(feed: Feed) -> int:
    return feed.ranks.urgency(feed.buffer[0].message.properties.get("priority"))
