"""Ends that are found while the worker ends: nobody here is left to tell who follows."""

from __future__ import annotations

import pytest

from tests.unit.worker.values import delivery, peek, plan, traits
from umbel.model.assignment import Lost, Report
from umbel.model.delivery import Ack
from umbel.model.lifecycle import Step
from umbel.model.message import TaskMessage
from umbel.testing.manual_clock import ManualClock
from umbel.wire import envelope
from umbel.wire.serializers import JSON
from umbel.wire.task_v2 import encode
from umbel.worker.admission import Run
from umbel.worker.interrupter import Interrupter
from umbel.worker.ledger import Entry, Ledger
from umbel.worker.pools.solo import SoloPool
from umbel.worker.settlements import Settlements

CALLED = {"task": "tasks.tell", "args": [], "kwargs": {}, "options": {}}


class Bench:
    def __init__(self) -> None:
        self.ledger = Ledger()
        clock = ManualClock()
        interrupter = Interrupter(SoloPool.__new__(SoloPool), self.ledger, clock)
        self.settlements = Settlements(plan(), self.ledger, interrupter, None, clock)

    def running(self, **fields: object) -> Entry:
        message = TaskMessage(id="id-1", task="tasks.add", **fields)
        raw = envelope.dump_compact(encode(message, serializer=JSON))
        run = Run(traits(requeue_lost=False), None, 3.0)
        entry = self.ledger.open(delivery(raw=raw), peek(), run, acked=False)
        self.ledger.move(entry, Step.ASSIGNED)
        self.ledger.move(entry, Step.RUNNING)
        return entry

    def sent(self) -> list[str]:
        """The tasks that are sent with the one end that was settled."""
        (settled,) = self.settlements.settlements
        assert settled.verdict == Ack()
        assert len(self.ledger) == 0
        return [each.message.headers["task"] for each in settled.effects.outgoing]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("ending", [None, "time limit"])
def test_an_executor_is_to_tell_who_is_called(bench, ending):
    entry = bench.running(errbacks=[CALLED])
    entry.ending = ending
    assert bench.settlements.lost(entry, Lost(entry.id, -9), cold=False)
    assert bench.settlements.settlements == []
    bench.ledger.move(entry, Step.CLAIMED)
    bench.ledger.move(entry, Step.ASSIGNED)
    bench.settlements.reported(Report(entry.id, "FAILURE", Ack(), (), (), 0.0))
    assert bench.sent() == []


def test_who_is_not_followed_is_settled_at_once(bench):
    entry = bench.running()
    assert not bench.settlements.lost(entry, Lost(entry.id, -9), cold=False)
    assert bench.sent() == []


def test_a_worker_that_ends_has_another_tell(bench):
    entry = bench.running(errbacks=[CALLED])
    entry.ending = "time limit"
    assert not bench.settlements.lost(entry, Lost(entry.id, -9), cold=True)
    assert bench.sent() == ["celery.umbel_errbacks"]


@pytest.mark.parametrize(
    ("innocent", "cold", "sent"),
    [(False, False, []), (True, False, ["celery.umbel_errbacks"])]
    + [(innocent, True, ["celery.umbel_errbacks"]) for innocent in (False, True)],
)
def test_an_executor_that_is_killed_over_telling_for_the_sake_of_others(
    bench, innocent, cold, sent
):
    """One that dies of it by itself would kill the next as well."""
    entry = bench.running(errbacks=[CALLED])
    assert bench.settlements.lost(entry, Lost(entry.id, -9), cold=False)
    bench.ledger.move(entry, Step.CLAIMED)
    bench.ledger.move(entry, Step.ASSIGNED)
    assert not bench.settlements.lost(entry, Lost(entry.id, -9, innocent=innocent), cold=cold)
    assert bench.sent() == sent
