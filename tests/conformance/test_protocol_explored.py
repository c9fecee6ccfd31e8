"""The protocol of claims, explored to its end, and every step of it replayed on the drivers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.conformance.protocol_model import (
    OWNERS,
    VERDICTS,
    Place,
    State,
    Step,
    after,
    explore,
    walks,
)
from umbel.clock import SystemClock
from umbel.drivers import postgres
from umbel.drivers.memory import MemoryDriver
from umbel.drivers.redis import RedisDriver
from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.location import Location
from umbel.model.delivery import Ack, Delivery, Quarantine, Requeue, Verdict
from umbel.model.queues import Queue
from umbel.ports import Consumer, Driver
from umbel.testing.conformance.station import new_id, outgoing, presence, record, settlement
from umbel.testing.manual_clock import ManualClock

LEASE = 1_000_000.0
"""Seconds: so long that what really passes during a test is nothing."""
EDGES = list(explore())


def test_the_protocol_keeps_its_invariants_in_every_state_that_can_be_reached():
    for way, state, step, reached in EDGES:
        story = (way, state, step, reached)
        # One outcome at most, and never again out of the end.
        assert reached.ended <= 1, story
        assert (reached.ended == 1) == (reached.place in {Place.DONE, Place.ASIDE}), story
        # A claim has one holder, and only a claim has.
        assert (reached.holder is None) == (reached.place is not Place.CLAIMED), story
        # Counts go up by a rescue or a counted verdict, by one, and never down.
        burned = reached.count - state.count
        rescued = step.what in {"claim", "claim unheard"} and state.expired
        assert burned == int(rescued or (step.what, step.how) == ("settle", "counted")), story
        # Effects are performed by a settlement of the holder, and by nothing else.
        assert (reached.effects > state.effects) == (step.what == "settle"), story
        # What is not the holder's cannot touch it.
        if step.what == "settle stale":
            assert reached == state, story


def test_from_every_state_the_message_can_reach_its_end_without_the_dead():
    """Nothing is stuck: leases pass, one living owner claims, and settles."""
    for _, _, _, reached in EDGES:
        if reached.place in {Place.DONE, Place.ASIDE}:
            continue
        state: State | None = reached
        if reached.holder != 1 or not reached.heard:
            for step in (Step("renew", 1), Step("lease passes", how="1"), Step("claim", 1)):
                assert state is not None
                state = after(state, step)
        assert state is not None
        done = after(state, Step("settle", 1, "ack"))
        assert done is not None
        assert done.place is Place.DONE


def test_the_walks_take_every_step():
    for calendar, ways in ((False, walks()), (True, walks(calendar=True))):
        taken = set()
        for walk in ways:
            state: State | None = State()
            for step in walk:
                assert state is not None
                taken.add((state, step))
                state = after(state, step)
        wanted = {(state, step) for _, state, step, _ in explore(calendar=calendar)}
        assert wanted <= taken


class Replay:
    """Two owners and one message on a real driver. Keeps no state that the model does not have."""

    def __init__(
        self,
        driver: Driver,
        elapse: Callable[[Replay, float], None],
        now: Any,
        looks: Callable[[Consumer, bool], None],
        clock: ManualClock | None,
    ) -> None:
        self.driver = driver
        self.clock = clock
        self._looks = looks
        self._elapse = elapse
        self._now = now
        self.queue, self.next = Queue(new_id()), Queue(new_id())
        self.consumers: list[Consumer] = []
        self.gone: list[Consumer] = []
        self.owners = [presence() for _ in OWNERS]
        self.consumers = [self._open(owner) for owner in OWNERS]
        self.held: list[Delivery | None] = [None, None]
        self.stale: list[Delivery | None] = [None, None]
        publisher = driver.broker().open_publisher()
        publisher.publish([outgoing(self.queue, new_id())], timeout=5)
        publisher.close()

    def _open(self, owner: int) -> Consumer:
        consumer = self.driver.broker().open_consumer(
            [self.queue],
            presence=self.owners[owner],
            lease=LEASE,
            results=self.driver.result_backend(),
        )
        self._looks(consumer, False)
        return consumer

    def close(self) -> None:
        for consumer in (*self.consumers, *self.gone):
            consumer.close()
        for queue in (self.queue, self.next):
            self.driver.broker().purge(queue.name)

    def take(self, step: Step, reached: State) -> None:
        """Do it, and see that the driver does what the model says."""
        self._do(step, reached)
        for owner in OWNERS:
            if reached.holder != owner and self.held[owner] is not None:
                self.stale[owner], self.held[owner] = self.held[owner], None
            if not reached.stale[owner]:
                self.stale[owner] = None
        self.compare(reached)

    def _do(self, step: Step, reached: State) -> None:
        owner = step.owner
        match step.what:
            case "claim" | "claim unheard":
                self._claim(owner, reached)
            case "settle":
                assert self._settle(owner, _known(self.held[owner]), self._verdict(step.how))
            case "settle stale":
                for verdict in (Ack(), Requeue(), Quarantine("why"), None):
                    assert not self._settle(owner, _known(self.stale[owner]), verdict)
            case "renew":
                self._renew(owner)
            case "leave":
                self.consumers[owner].close()
                self.consumers[owner] = self._open(owner)
            case "die":
                self._die(owner)
            case "lease passes":
                self._pass(step.how)
            case "calendar is set":
                self._set_calendar(1.2 * LEASE if step.how == "ahead" else -1.2 * LEASE)

    def _set_calendar(self, seconds: float) -> None:
        assert self.clock is not None, "only a clock of the test can be set"
        self.clock.jump(seconds)

    def _claim(self, owner: int, reached: State) -> None:
        self._looks(self.consumers[owner], True)
        deliveries = self.consumers[owner].exchange([], 1).deliveries
        self._looks(self.consumers[owner], False)
        claimed = reached.holder == owner
        assert len(deliveries) == claimed
        if claimed and reached.heard:
            self.held[owner] = deliveries[0]
            told = deliveries[0].count, deliveries[0].redelivered
            assert told == (reached.count + 1, reached.count > 0)

    def _pass(self, survivors: str) -> None:
        for _ in range(2):
            self._elapse(self, 0.6 * LEASE)
            for survivor in OWNERS:
                if str(survivor) in survivors:
                    self._renew(survivor)

    def _verdict(self, how: str) -> Verdict | None:
        later = self._now() + timedelta(seconds=LEASE)
        verdicts: dict[str, Verdict | None] = {
            "ack": Ack(),
            "quarantine": Quarantine("why"),
            "front": Requeue(),
            "back": Requeue(front=False),
            "counted": Requeue(counted=True),
            "later": Requeue(due_at=later),
            "keep": None,
        }
        assert set(verdicts) == {*VERDICTS, "keep"}
        return verdicts[how]

    def _settle(self, owner: int, delivery: Delivery, verdict: Verdict | None) -> bool:
        """Settle with effects; return whether it was accepted, effects and all, or refused so."""
        told = new_id()
        end = settlement(
            delivery, verdict, records=[record(told)], outgoing=[outgoing(self.next, new_id())]
        )
        lost = self.consumers[owner].exchange([end], 0).lost
        accepted = lost == ()
        assert lost in {(), (delivery.receipt,)}
        assert (told in self.driver.result_backend().fetch([told])) == accepted
        return accepted

    def _renew(self, owner: int) -> None:
        known = [one.receipt for one in (self.held[owner], self.stale[owner]) if one is not None]
        lost = self.consumers[owner].extend(known, self.owners[owner])
        stale = self.stale[owner]
        assert list(lost) == ([] if stale is None else [stale.receipt])

    def _die(self, owner: int) -> None:
        """Go without a word: a new start of the worker has another owner name."""
        self.gone.append(self.consumers[owner])
        self.held[owner] = None
        self.owners[owner] = presence()
        self.consumers[owner] = self._open(owner)

    def compare(self, state: State) -> None:
        """See that the message is where the model has it, and nowhere else."""
        here, follow = self.driver.broker().stats([self.queue.name, self.next.name])
        claimed = int(state.place is Place.CLAIMED)
        assert here.claimed == claimed, state
        assert here.ready + here.delayed == int(
            state.place in {Place.READY, Place.RESTING, Place.DUE}
        ), state
        if state.place is not Place.DUE:
            assert here.delayed == int(state.place is Place.RESTING), state
        assert follow.ready == state.effects, state


def _known(delivery: Delivery | None) -> Delivery:
    assert delivery is not None
    return delivery


def replay_all(
    driver: Driver,
    elapse: Callable[[Replay, float], None],
    now: Any,
    walks: Iterable[Sequence[Step]],
    looks: Callable[[Consumer, bool], None] = lambda consumer, looks: None,
    clock: ManualClock | None = None,
) -> int:
    """Replay these walks; return how many different steps from different states they took."""
    taken: set[tuple[State, Step]] = set()
    for walk in walks:
        replay, state = Replay(driver, elapse, now, looks, clock), State()
        for number, each in enumerate(walk):
            reached = after(state, each)
            assert reached is not None
            try:
                replay.take(each, reached)
            except AssertionError as error:
                raise AssertionError(f"{walk[: number + 1]}: {error}") from error
            taken.add((state, each))
            state = reached
        replay.close()
    return len(taken)


def test_every_step_on_the_memory_driver():
    clock = ManualClock()
    driver = MemoryDriver(clock)
    ways = walks(calendar=True)
    taken = replay_all(driver, lambda _, s: clock.advance(s), clock.now, ways, clock=clock)
    assert taken == len(list(explore(calendar=True)))


@pytest.mark.slow
def test_steps_on_sqlite(tmp_path: Path):
    clock = ManualClock()
    driver = SqliteDriver(Location(tmp_path / "umbel.sqlite3", synchronous="off"), clock)
    ways = walks(calendar=True)[::3]
    taken = replay_all(driver, lambda _, s: clock.advance(s), clock.now, ways, clock=clock)
    assert taken > 2000
    driver.broker().close()
    driver.result_backend().close()


@pytest.mark.slow
@pytest.mark.redis
def test_steps_on_redis(redis_url: str):
    """The server's clock cannot be moved, so every moment that it keeps is moved instead."""
    driver = RedisDriver(redis_url, {})
    client = redis.Redis.from_url(redis_url)

    def elapse(replay: Replay, seconds: float) -> None:
        keys = driver.broker()._keys.queue(replay.queue.name)
        for key in (keys.owners, keys.delayed):
            for member, score in client.zrange(key, 0, -1, withscores=True):
                client.zadd(key, {member: score - seconds * 1000})
        alarm = client.get(keys.alarm)
        if alarm is not None:
            client.set(keys.alarm, int(float(alarm) - seconds * 1000))

    def looks_for_the_dead(consumer: Consumer, looks: bool) -> None:
        """As the model has it: whoever claims, and nobody else. Really it goes by its own clock."""
        consumer._maintain_at = 0.0 if looks else math.inf

    assert replay_all(driver, elapse, SystemClock().now, walks()[::4], looks_for_the_dead) > 1000
    client.close()
    driver.broker().close()
    driver.result_backend().close()


@pytest.mark.slow
def test_steps_on_postgresql(postgres_url: str):
    """As on Redis: what it keeps is moved, since its clock cannot be."""
    driver = postgres.open(postgres_url, {})
    connection = psycopg.connect(postgres_url, autocommit=True)

    def elapse(replay: Replay, seconds: float) -> None:
        by = timedelta(seconds=seconds)
        connection.execute("UPDATE umbel.worker SET until = until - %s", (by,))
        moved = "UPDATE umbel.delayed SET due = due - %s WHERE queue = %s"
        connection.execute(moved, (by, replay.queue.name))

    def looks_for_the_dead(consumer: Consumer, looks: bool) -> None:
        moment = 0.0 if looks else math.inf
        consumer._maintain_at = consumer._rescue_at = consumer._renew_at = moment

    assert replay_all(driver, elapse, SystemClock().now, walks()[::60], looks_for_the_dead) > 100
    connection.close()
    driver.broker().close()
    driver.result_backend().close()
