"""What every broker promises about leases, dead owners, presences and revocations.

Part of ``broker_suite.BrokerSuite``; see there for the fixtures.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from umbel.model.delivery import Ack, Requeue
from umbel.model.presence import Presence
from umbel.model.queues import Queue
from umbel.model.revocation import Revocation
from umbel.ports import Consumer, ResultBackend
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    eventually,
    let_go,
    needs,
    new_id,
    outgoing,
    places,
    presence,
    record,
    settlement,
    take,
    task_id_of,
    task_ids,
)

LEASE = 1.0
"""Seconds. Long enough for a slow machine where the clock is real, short enough to wait for."""
HALF = 0.55
"""Two of these are more than a lease."""


class LeasingPromises:
    """Leases, rescue, zombies, presences, revocations."""

    def test_a_dead_owners_claim_is_rescued_and_counted(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "lease")
        ids = station.send(queue, 2)
        take(station.consumer(queue, lease=LEASE), 1)
        elapse(2 * HALF)
        rescued = take(station.consumer(queue), 2)
        by_id = {task_id_of(each): each for each in rescued}
        assert set(by_id) == set(ids)
        assert by_id[ids[0]].count == 2
        assert by_id[ids[0]].redelivered
        assert by_id[ids[1]].count == 1
        assert not by_id[ids[1]].redelivered

    def test_what_is_rescued_comes_first(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "lease")
        ids = station.send(queue, 3)
        take(station.consumer(queue, lease=LEASE), 1)
        elapse(2 * HALF)
        assert task_ids(take(station.consumer(queue), 1)) == ids[:1]

    def test_a_living_owners_claim_is_left_alone(self, station: Station, queue: Queue) -> None:
        station.send(queue)
        take(station.consumer(queue), 1)
        assert not station.consumer(queue).receive(1, 0.0)

    def test_extending_keeps_the_claims(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "lease")
        station.send(queue)
        me = presence()
        consumer = station.consumer(queue, lease=LEASE, owner=me.owner)
        (delivery,) = take(consumer, 1)
        for _ in range(3):
            elapse(HALF)
            assert list(consumer.extend([delivery.receipt], me)) == []
        assert not station.consumer(queue).receive(1, 0.0)
        assert consumer.exchange([settlement(delivery, Ack())], 0).lost == ()

    def test_extend_names_what_is_no_longer_ours(self, station: Station, queue: Queue) -> None:
        station.send(queue, 2)
        me = presence()
        consumer = station.consumer(queue, owner=me.owner)
        first, second = take(consumer, 2)
        consumer.exchange([settlement(first, Ack())], 0)
        assert list(consumer.extend([first.receipt, second.receipt], me)) == [first.receipt]

    def test_a_claim_its_owner_does_not_know_of_goes_back(
        self, station: Station, queue: Queue
    ) -> None:
        first, second = station.send(queue, 2)
        me = presence()
        consumer = station.consumer(queue, owner=me.owner)
        taken = take(consumer, 2)
        assert list(consumer.extend([taken[1].receipt], me)) == []
        let_go(consumer, station)
        (again,) = take(station.consumer(queue), 1)
        assert task_ids([again]) == [first]
        assert again.count == 1
        done = [settlement(each, Ack()) for each in taken]
        assert consumer.exchange(done, 0).lost == (taken[0].receipt,)
        assert second not in task_ids([again])

    def test_a_zombies_settlement_is_refused_with_its_effects(
        self,
        station: Station,
        backend: ResultBackend,
        queue: Queue,
        other: Queue,
        elapse: Callable[[float], None],
    ) -> None:
        needs(station, "lease")
        (task_id,) = station.send(queue)
        me = presence()
        zombie = station.consumer(queue, lease=LEASE, owner=me.owner)
        (stale,) = take(zombie, 1)
        elapse(2 * HALF)
        rescuer = station.consumer(queue)
        (fresh,) = take(rescuer, 1)
        late = settlement(
            stale,
            Ack(),
            records=[record(task_id, document=b"stale")],
            outgoing=[outgoing(other, new_id())],
        )
        assert zombie.exchange([late], 0).lost == (stale.receipt,)
        assert list(zombie.extend([stale.receipt], me)) == [stale.receipt]
        assert backend.fetch([task_id]) == {}
        assert places(station, other) == (0, 0, 0)
        good = settlement(fresh, Ack(), records=[record(task_id, document=b"fresh")])
        assert rescuer.exchange([good], 0).lost == ()
        assert backend.fetch([task_id])[task_id].document == b"fresh"

    def test_a_zombie_may_work_again(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "lease")
        ids = station.send(queue)
        me = presence()
        zombie = station.consumer(queue, lease=LEASE, owner=me.owner)
        take(zombie, 1)
        elapse(2 * HALF)
        rescuer = station.consumer(queue)
        (delivery,) = take(rescuer, 1)
        rescuer.exchange([settlement(delivery, Requeue())], 0)
        (again,) = take(zombie, 1)
        assert task_ids([again]) == ids
        assert list(zombie.extend([again.receipt], me)) == []
        assert zombie.exchange([settlement(again, Ack())], 0).lost == ()

    def test_a_waiting_receive_rescues(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "lease")
        ids = station.send(queue)
        take(station.consumer(queue, lease=LEASE), 1)
        waiting = InThread(lambda: task_ids(take(station.consumer(queue), 1)))
        elapse(2 * HALF)
        assert waiting.result() == ids

    def test_closing_returns_the_claims_uncounted(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue, 4)
        leaving = station.consumer(queue)
        take(leaving, 2)
        leaving.close()
        assert places(station, queue) == (4, 0, 0)
        again = take(station.consumer(queue), 4)
        assert set(task_ids(again[:2])) == set(ids[:2])
        assert task_ids(again[2:]) == ids[2:]
        assert [each.count for each in again] == [1, 1, 1, 1]

    def test_closing_wakes_who_waits(self, station: Station, queue: Queue) -> None:
        ids = station.send(queue)
        leaving = station.consumer(queue)
        take(leaving, 1)
        waiting = InThread(lambda: task_ids(take(station.consumer(queue), 1)))
        leaving.close()
        assert waiting.result() == ids

    # --- presences --------------------------------------------------------------------------------

    def test_a_consumer_is_present_while_it_is_open(self, station: Station, queue: Queue) -> None:
        me = presence(queues=(queue.name,))
        consumer = station.consumer(queue, **msgspec.structs.asdict(me))
        (seen,) = present(station, me.owner)
        assert (seen.name, seen.pid, seen.pool) == (me.name, me.pid, me.pool)
        assert (seen.concurrency, seen.queues, seen.version) == (2, (queue.name,), "0.0")
        assert seen.started == me.started
        consumer.close()
        assert present(station, me.owner) == []

    def test_extend_tells_what_changed(self, station: Station, queue: Queue) -> None:
        me = presence()
        consumer = station.consumer(queue, **msgspec.structs.asdict(me))
        busy = presence(owner=me.owner, active=2, processed={"SUCCESS": 7, "FAILURE": 1})
        consumer.extend([], busy)
        (seen,) = present(station, me.owner)
        assert seen.active == 2
        assert dict(seen.processed) == {"SUCCESS": 7, "FAILURE": 1}
        assert seen.seen > 0

    def test_the_dead_are_not_present(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        needs(station, "lease")
        me = presence()
        station.consumer(queue, lease=LEASE, owner=me.owner)
        elapse(2 * HALF)
        assert present(station, me.owner) == []

    # --- revocations ------------------------------------------------------------------------------

    def test_revocations_are_told_once_to_each(self, station: Station, queue: Queue) -> None:
        early = station.consumer(queue)
        told(early)
        first = Revocation(task_id=new_id(), terminate=True, signal="SIGUSR2")
        second = Revocation(task_id=new_id())
        station.broker.revoke([first, second], keep=600.0)
        assert hears(early, 2) == {first.task_id: first, second.task_id: second}
        assert told(early) == {}
        late = told(station.consumer(queue))
        assert late[first.task_id] == first
        assert late[second.task_id] == second

    def test_revoking_again_is_told_again(self, station: Station, queue: Queue) -> None:
        consumer = station.consumer(queue)
        told(consumer)
        task_id = new_id()
        station.broker.revoke([Revocation(task_id=task_id)], keep=600.0)
        assert hears(consumer, 1) == {task_id: Revocation(task_id=task_id)}
        stronger = Revocation(task_id=task_id, terminate=True)
        station.broker.revoke([stronger], keep=600.0)
        assert hears(consumer, 1) == {task_id: stronger}

    def test_revocations_expire(
        self, station: Station, queue: Queue, elapse: Callable[[float], None]
    ) -> None:
        kept, gone = Revocation(task_id=new_id()), Revocation(task_id=new_id())
        station.broker.revoke([gone], keep=0.5)
        station.broker.revoke([kept], keep=600.0)
        elapse(0.6)
        heard = told(station.consumer(queue))
        assert kept.task_id in heard
        assert gone.task_id not in heard

    def test_a_revocation_ends_a_wait(self, station: Station, queue: Queue) -> None:
        revocation = Revocation(task_id=new_id())

        def wait() -> dict[str, Revocation]:
            consumer = station.consumer(queue)
            # Race: the revocation may come before this first look; then there is no wait.
            heard = told(consumer)
            deadline = time.monotonic() + PATIENCE
            while revocation.task_id not in heard and time.monotonic() < deadline:
                consumer.receive(1, PATIENCE)
                heard.update(told(consumer))
            return heard

        waiting = InThread(wait)
        eventually(station.broker.presences)
        began = time.monotonic()
        station.broker.revoke([revocation], keep=600.0)
        assert revocation.task_id in waiting.result()
        assert time.monotonic() - began < PATIENCE / 2


def present(station: Station, owner: str) -> list[Presence]:
    """Return the presences of this owner."""
    return [each for each in station.broker.presences() if each.owner == owner]


def told(consumer: Consumer) -> dict[str, Revocation]:
    """Return what the consumer says was revoked, by task id, after looking at the store."""
    consumer.exchange([], 0)
    return {each.task_id: each for each in consumer.revocations()}


def hears(consumer: Consumer, count: int) -> dict[str, Revocation]:
    """Return revocations until ``count`` were told."""
    heard: dict[str, Revocation] = {}

    def look() -> bool:
        heard.update(told(consumer))
        return len(heard) >= count

    eventually(look)
    return heard
