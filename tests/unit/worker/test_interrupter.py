"""What the interrupter orders a pool, by a clock that the test moves."""

from __future__ import annotations

import pytest

from tests.unit.worker.values import delivery, peek, traits
from umbel.model.assignment import Interrupt
from umbel.model.lifecycle import Step
from umbel.model.revocation import Revocation
from umbel.testing.manual_clock import ManualClock
from umbel.worker.admission import Run
from umbel.worker.interrupter import TERMINATE_PATIENCE, Interrupter
from umbel.worker.ledger import Entry, Ledger
from umbel.worker.pools.solo import SoloPool


class Orders(SoloPool):
    """Writes down what it is ordered; every assignment is here."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Interrupt, str]] = []

    def interrupt(self, assignment_id: int, how: Interrupt, reason: str) -> bool:
        self.heard.append((assignment_id, how, reason))
        return True


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.pool = Orders()
        self.ledger = Ledger()
        self.interrupter = Interrupter(self.pool, self.ledger, self.clock)

    def running(self, soft: float | None = None, hard: float | None = None) -> Entry:
        entry = self.ledger.open(delivery(), peek(), Run(traits(), soft, hard), acked=False)
        self.ledger.move(entry, Step.ASSIGNED)
        self.ledger.move(entry, Step.RUNNING)
        self.interrupter.began(entry)
        return entry

    def orders_after(self, seconds: float) -> list[tuple[Interrupt, str]]:
        self.clock.advance(seconds)
        self.interrupter.look()
        heard, self.pool.heard = self.pool.heard, []
        return [(how, reason) for _, how, reason in heard]


def revocation(signal: str | None = None) -> Revocation:
    return Revocation(task_id="id-1", terminate=signal is not None, signal=signal or "SIGTERM")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_limits_count_from_the_beginning_and_each_strikes_once(bench):
    entry = bench.running(soft=2.0, hard=3.0)
    assert bench.interrupter.next_at() == 2.0
    assert bench.orders_after(1.9) == []
    assert bench.orders_after(0.2) == [(Interrupt.SOFT, "2 s")]
    assert entry.ending is None
    assert bench.orders_after(1.0) == [(Interrupt.HARD, "time limit")]
    assert entry.ending == "time limit"
    assert bench.orders_after(10.0) == []


def test_what_ended_has_no_limit_any_more(bench):
    entry = bench.running(soft=2.0)
    bench.interrupter.ended(entry.id)
    assert bench.orders_after(5.0) == []


def test_a_plain_revocation_never_uses_force(bench):
    entry = bench.running()
    for _ in range(2):
        bench.interrupter.revoke(entry, revocation())
    assert entry.ending == "revoked"
    assert bench.orders_after(3600.0) == [(Interrupt.REVOKE, "revoked")]


def test_terminate_sends_the_signal_and_uses_force_when_it_is_ignored(bench):
    entry = bench.running()
    bench.interrupter.revoke(entry, revocation("SIGINT"))
    assert bench.orders_after(TERMINATE_PATIENCE / 2) == [(Interrupt.TERMINATE, "SIGINT")]
    assert bench.orders_after(TERMINATE_PATIENCE) == [(Interrupt.HARD, "terminated")]
    assert entry.ending == "terminated"


def test_sigkill_is_force_at_once(bench):
    entry = bench.running()
    bench.interrupter.revoke(entry, revocation("SIGKILL"))
    assert bench.orders_after(0.0) == [(Interrupt.HARD, "terminated")]
    assert bench.orders_after(3600.0) == []


def test_a_revocation_that_is_followed_by_terminate_is_one_with_terminate(bench):
    entry = bench.running()
    bench.interrupter.revoke(entry, revocation())
    bench.interrupter.revoke(entry, revocation("SIGTERM"))
    assert entry.ending == "terminated"
    bench.interrupter.revoke(entry, revocation())
    assert entry.ending == "terminated"


def test_a_hard_limit_after_terminate_does_not_make_it_a_timeout(bench):
    entry = bench.running(hard=1.0)
    bench.interrupter.revoke(entry, revocation("SIGTERM"))
    assert (Interrupt.HARD, "terminated") in bench.orders_after(2.0)
    assert entry.ending == "terminated"


def test_who_lost_the_lease_is_told(bench):
    bench.interrupter.escaped(bench.running())
    assert bench.orders_after(0.0) == [(Interrupt.REVOKE, "lease lost")]
