"""A task that the store hands out again after its rest is due, whatever the worker's clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.unit.worker.values import NOW, peek, plan
from umbel.drivers.memory import MemoryDriver
from umbel.model.message import TaskMessage
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue
from umbel.testing.manual_clock import ManualClock
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode
from umbel.worker.admission import Rest, Run, admit
from umbel.worker.intake import Intake
from umbel.worker.resting import Rested

SOON = NOW + timedelta(seconds=30)
QUEUE = Queue("celery")


def test_what_rested_for_this_eta_is_due_once():
    rested = Rested()
    rested.note("id-1", SOON)
    assert rested.take("id-1", SOON)
    assert not rested.take("id-1", SOON)


def test_a_retry_with_a_later_eta_rests_anew():
    rested = Rested()
    rested.note("id-1", SOON)
    assert not rested.take("id-1", SOON + timedelta(seconds=1))
    assert not rested.take("id-2", SOON)
    assert not rested.take("id-1", None)


def test_it_remembers_a_bounded_number():
    rested = Rested(most=2)
    for number in range(3):
        rested.note(f"id-{number}", SOON)
    assert [rested.take(f"id-{number}", SOON) for number in range(3)] == [False, True, True]


def test_a_due_task_runs_although_our_clock_says_it_is_early():
    early = peek(eta=SOON)
    known = {"count": 1, "now": NOW, "plan": plan(), "revoked": {}}
    assert isinstance(admit(early, **known), Rest)
    assert isinstance(admit(early, **known, rested=True), Run)


def intake_with(clock):
    broker = MemoryDriver().broker()
    presence = Presence(
        owner="o",
        name="celery@here",
        pid=1,
        pool="solo",
        concurrency=1,
        queues=("celery",),
        version="0",
        started=0.0,
    )
    return broker, Intake(broker, None, plan(), presence, clock=clock, notify=lambda: None)


def test_a_worker_whose_clock_is_behind_puts_a_task_back_once_and_then_runs_it():
    # By the store's clock, the real one, the task is due at once; by the worker's in an hour.
    due = datetime.now(UTC)
    broker, intake = intake_with(ManualClock(due - timedelta(hours=1)))
    message = TaskMessage(id="id-1", task="tasks.add", eta=due)
    encoded = encode(message, serializer=SERIALIZERS.get("json"))
    broker.open_publisher().publish([Outgoing(message=encoded, queue=QUEUE)], timeout=1.0)
    intake.connect()
    intake.post((), (), free=1, active=0, processed={})
    steps, admitted = 0, ()
    while not admitted:
        assert steps < 5, "it goes to and fro between the worker and the store"
        intake.step(longest=1.0)
        admitted = intake.take().admitted
        steps += 1
    assert [each.peek.id for each in admitted] == ["id-1"]
    assert steps == 2  # claimed; put back and claimed again
