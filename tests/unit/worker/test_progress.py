"""The watchdogs: a store that delivers nothing, and an intake that hangs in a call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.unit.worker.test_intake import Desk
from umbel.app.app import App
from umbel.clock import SystemClock
from umbel.ports import Broker, Consumer
from umbel.testing.faults import FaultyBroker
from umbel.testing.manual_clock import ManualClock
from umbel.worker.execution import Execution
from umbel.worker.intake import Intake
from umbel.worker.pools.solo import SoloPool
from umbel.worker.progress import Deliveries, Silence, Stall
from umbel.worker.supervisor import Supervisor


class Watched:
    """``Deliveries`` with a timeout of 60 s, looked at as an idle intake does: every 5 s."""

    def __init__(self, timeout: float | None = 60.0) -> None:
        self.now = 100.0
        self.watch = Deliveries(timeout, 5.0)

    def idle(self, seconds: float, *, waiting: int) -> list[Stall]:
        said: list[Stall] = []
        end = self.now + seconds
        while self.now < end:
            self.now += 5.0
            if self.watch.is_due(self.now):
                said.append(self.watch.looked(self.now, waiting))
        return [each for each in said if each is not Stall.NONE]


def test_an_idle_worker_at_an_empty_queue_is_well():
    assert Watched().idle(3600.0, waiting=0) == []


def test_messages_beside_free_slots_are_a_fault_after_the_timeout_and_the_end_after_twice():
    watched = Watched()
    assert watched.idle(60.0, waiting=3) == []
    assert watched.idle(30.0, waiting=3) == [Stall.CONNECT_ANEW]
    assert watched.idle(75.0, waiting=3) == [Stall.GIVE_UP]


def test_what_moves_again_after_the_new_connection_is_well():
    watched = Watched()
    assert watched.idle(90.0, waiting=3) == [Stall.CONNECT_ANEW]
    watched.watch.moving()
    assert watched.idle(60.0, waiting=3) == []
    assert watched.idle(30.0, waiting=3) == [Stall.CONNECT_ANEW]


def test_a_queue_that_is_empty_at_one_look_begins_anew():
    watched = Watched()
    for _ in range(10):
        assert watched.idle(60.0, waiting=1) == []
        assert watched.idle(20.0, waiting=0) == []


def test_time_in_which_nobody_looked_hardly_counts():
    watched = Watched()
    assert watched.idle(40.0, waiting=1) == []
    watched.now += 86400.0  # frozen
    assert watched.watch.looked(watched.now, 1) is Stall.NONE


def test_without_a_timeout_nothing_is_looked_at():
    assert Watched(None).idle(3600.0, waiting=9) == []


def test_a_thread_that_counts_on_is_never_silent():
    silence = Silence(60.0, 1.0)
    assert not any(silence.too_long(float(now), now) for now in range(1000))


def test_a_thread_that_stands_still_is_silent_after_the_timeout_of_looks():
    silence = Silence(60.0, 1.0)
    said = [silence.too_long(float(now), 7) for now in range(1, 200)]
    assert said.index(True) == 120
    frozen = Silence(60.0, 1.0)
    assert not frozen.too_long(1.0, 7)
    assert not frozen.too_long(86400.0, 7)


# --- in the intake and the supervisor ---------------------------------------------------------


PATIENCE = {"stall_timeout": 1.0, "renewal": 0.25}


@pytest.fixture
def still() -> Iterator[Callable[..., tuple[Desk, ManualClock]]]:
    """A desk whose intake is stepped by the test, on a clock that stands still."""
    opened: list[Desk] = []

    def make(**changes: float) -> tuple[Desk, ManualClock]:
        clock = ManualClock()
        desk = Desk(clock=clock, **(PATIENCE | changes))
        desk.intake.connect()
        opened.append(desk)
        return desk, clock

    yield make
    for desk in opened:
        desk.intake.ask_to_stop()
        while not desk.intake.step(0.0):
            pass


def idle(desk: Desk, clock: ManualClock, steps: int) -> None:
    for _ in range(steps):
        clock.advance(0.25)
        desk.intake.step(0.0)


def test_a_consumer_that_delivers_nothing_is_made_anew_and_goes_on(still, caplog):
    desk, clock = still()
    desk.send()
    desk.broker.deliver_nothing(connections=1)
    desk.post(free=1)
    idle(desk, clock, 20)
    assert desk.broker.connected_anew == 1
    assert "1 messages wait in celery, slots are free, and nothing could be claimed" in caplog.text
    assert [each.peek.id for each in desk.intake.take().admitted] == ["id-1"]
    assert not desk.intake.gave_up


def test_a_store_that_goes_on_delivering_nothing_ends_the_worker(still, caplog):
    desk, clock = still()
    desk.send()
    desk.broker.deliver_nothing(connections=99)
    desk.post(free=1)
    idle(desk, clock, 20)
    assert desk.intake.gave_up
    assert "The worker ends: 1 messages wait in celery, slots are free" in caplog.text
    assert desk.stats() == (1, 0, 0)


def test_a_worker_without_free_slots_may_let_messages_wait(still):
    desk, clock = still()
    for number in range(3):
        desk.send(id=f"id-{number}")
    desk.post(free=1)
    idle(desk, clock, 40)
    assert len(desk.intake.take().admitted) == 1
    idle(desk, clock, 40)
    assert desk.broker.connected_anew == 0
    assert not desk.intake.gave_up


class HangingBroker(FaultyBroker):
    """Its consumer does not come back from ``receive``: a driver that waits without a deadline."""

    def __init__(self, inner: Broker, end: threading.Event) -> None:
        super().__init__(inner)
        self._end = end

    def open_consumer(self, queues, **more) -> Consumer:
        consumer = super().open_consumer(queues, **more)
        consumer.receive = lambda limit, timeout: self._end.wait(60) and ()
        return consumer


def supervised(desk: Desk, intake: Intake) -> int:
    """Run a worker whose one slot is never used, to its end."""
    pool = SoloPool(Execution(App("progress"), node="celery@here", pid=1))  # it runs nothing here
    return Supervisor(desk.plan, pool, intake, SystemClock()).run()


def intake_of(desk: Desk, broker: Broker) -> Intake:
    return Intake(
        broker, desk.backend, desk.plan, desk.presence, clock=SystemClock(), notify=lambda: None
    )


def test_a_worker_that_is_delivered_nothing_ends_with_a_failure(caplog):
    desk = Desk(stall_timeout=0.2, renewal=0.05)
    desk.send()
    desk.broker.deliver_nothing(connections=99)
    with caplog.at_level(logging.WARNING):
        assert supervised(desk, intake_of(desk, desk.broker)) == 1
    assert "connecting anew" in caplog.text
    assert "The worker ends: 1 messages wait" in caplog.text
    assert desk.stats() == (1, 0, 0)


def test_a_worker_whose_broker_call_never_returns_ends_with_a_failure(caplog):
    desk = Desk(stall_timeout=0.6, renewal=0.05)
    end = threading.Event()
    broker = HangingBroker(desk.broker, end)
    assert supervised(desk, intake_of(desk, broker)) == 1
    end.set()
    assert "a call to the broker has not returned for" in caplog.text


def test_the_consumer_made_anew_keeps_its_claims(still):
    desk, clock = still()
    desk.send(id="first")
    desk.post(free=2)
    idle(desk, clock, 1)
    (first,) = desk.intake.take().admitted
    desk.send(id="second")
    desk.broker.deliver_nothing(connections=1)
    desk.post(free=1)
    idle(desk, clock, 20)
    assert [each.peek.id for each in desk.intake.take().admitted] == ["second"]
    assert desk.stats() == (0, 2, 0)
    assert first.delivery.count == 1
