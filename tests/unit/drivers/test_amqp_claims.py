"""Which frames settle which claims, and whose turn it is."""

from __future__ import annotations

from pamqp import commands, frame

from umbel.drivers.amqp.claims import Claim, Claims, Feed
from umbel.drivers.amqp.frames import Delivered
from umbel.model.queues import Queue


def claims_of(*names: str, window: int = 100) -> Claims:
    claims = Claims(1, [Feed(Queue(name)) for name in names])
    for feed in claims.feeds:
        claims.subscribe(feed, window)
    return claims


def come(claims: Claims, *tags: int, feed: int = 0, priority: int | None = None) -> None:
    properties = commands.Basic.Properties(priority=priority)
    tag_of = claims.feeds[feed].tag
    for tag in tags:
        claims.take(Delivered(1, tag_of, tag, False, "", "q", properties, b""))


def said(frames: list[bytes]) -> list[tuple[str, int, bool]]:
    found = []
    for data in frames:
        method = frame.unmarshal(data)[2]
        many = getattr(method, "multiple", False)
        found.append((type(method).__name__, method.delivery_tag, bool(many)))
    return found


def tagged(claims: Claims, *tags: int) -> list[Claim]:
    return [claim for claim in claims.all if claim.tag in tags]


def test_what_comes_first_of_all_is_acknowledged_together() -> None:
    claims = claims_of("q")
    come(claims, 1, 2, 3, 4, 5)
    claims.hand_out(5, 0)
    assert said(claims.ack(tagged(claims, 1, 2, 3))) == [("Ack", 3, True)]
    assert said(claims.ack(tagged(claims, 5))) == [("Ack", 5, False)]
    assert said(claims.ack(tagged(claims, 4))) == [("Ack", 4, False)]
    assert claims.all == []
    assert claims.ack([]) == []


def test_what_runs_is_never_acknowledged_with_its_neighbours() -> None:
    claims = claims_of("q")
    come(claims, *range(1, 7))
    claims.hand_out(6, 0)
    assert said(claims.ack(tagged(claims, 1, 2, 4, 6))) == [
        ("Ack", 2, True),
        ("Ack", 4, False),
        ("Ack", 6, False),
    ]
    assert [claim.tag for claim in claims.all] == [3, 5]


def test_the_last_goes_back_first() -> None:
    claims = claims_of("q")
    come(claims, 1, 2, 3)
    assert [tag for _, tag, _ in said(claims.requeue(claims.all))] == [3, 2, 1]
    assert (claims.all, claims.buffered) == ([], [])
    assert claims.feeds[0].free == 100


def test_queues_take_turns_and_the_urgent_goes_first() -> None:
    claims = claims_of("a", "b")
    come(claims, 1, 2, 3)
    come(claims, 11, 12, 13, feed=1)
    turns = [claims.hand_out(1, turn)[0].feed.queue.name for turn in range(4)]
    assert sorted(turns) == ["a", "a", "b", "b"]
    come(claims, 99, feed=1, priority=9)
    urgent = claims_of("a", "b")
    come(urgent, 1, 2, priority=0)
    come(urgent, 9, feed=1, priority=5)
    assert urgent.hand_out(1, 0)[0].tag == 9


def test_a_receipt_of_a_channel_that_is_gone_settles_nothing() -> None:
    claims = claims_of("q")
    come(claims, 1)
    (claim,) = claims.hand_out(1, 0)
    assert claims.find(claim.receipt) is claim
    claims.renew()
    assert claims.find(claim.receipt) is None
    claims.subscribe(claims.feeds[0], 10)
    come(claims, 1)
    (again,) = claims.hand_out(1, 0)
    assert again.receipt != claim.receipt


def test_what_was_not_handed_out_is_nobody_s_claim_yet() -> None:
    claims = claims_of("q")
    come(claims, 1, 2)
    assert claims.find(claims.all[0].receipt) is None
    claims.hand_out(1, 0)
    assert claims.handed_out == 1
    assert [claim.tag for claim in claims.unknown_to([])] == [1]
    assert claims.unknown_to([claims.all[0].receipt]) == []


def test_messages_of_a_former_subscription_take_no_room_in_the_next() -> None:
    claims = claims_of("q", window=4)
    come(claims, 1, 2)
    former = claims.feeds[0].tag
    claims.subscribe(claims.feeds[0], 8)
    claims.take(Delivered(1, former, 3, False, "", "q", commands.Basic.Properties(), b""))
    assert claims.feeds[0].free == 8
    claims.ack(claims.all)
    assert claims.feeds[0].free == 8
