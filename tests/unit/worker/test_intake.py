"""The intake thread against a real store in memory, with a connection that breaks on cue."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.worker.values import plan, traits
from umbel.clock import Clock, SystemClock
from umbel.drivers.memory import MemoryDriver
from umbel.model.delivery import Ack, Effects, Settlement
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue
from umbel.model.revocation import Revocation
from umbel.testing.faults import FaultyBroker
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode
from umbel.worker.intake import Admitted, Intake

PATIENCE = 10.0
QUEUE = Queue("celery")


class Desk:
    """A store, an intake thread, and the main thread's side of it."""

    def __init__(self, clock: Clock | None = None, **plan_changes: Any) -> None:
        driver = MemoryDriver() if clock is None else MemoryDriver(clock)
        self.broker = FaultyBroker(driver.broker())
        self.backend = driver.result_backend()
        self.plan = plan(**plan_changes)
        self.bell = threading.Event()
        self.admitted: list[Admitted] = []
        self.terminate: list[Revocation] = []
        self.escaped: list[str] = []
        self.presence = Presence(
            owner="owner-1",
            name="celery@here",
            pid=1,
            pool="solo",
            concurrency=1,
            queues=("celery",),
            version="0",
            started=0.0,
        )
        self.intake = Intake(
            self.broker,
            self.backend,
            self.plan,
            self.presence,
            clock=clock or SystemClock(),
            notify=self.bell.set,
        )

    def send(self, **fields: Any) -> str:
        message = TaskMessage(**({"id": "id-1", "task": "tasks.add"} | fields))
        self.put(encode(message, serializer=SERIALIZERS.get("json")))
        return message.id

    def put(self, message: EncodedMessage) -> None:
        publisher = self.broker.open_publisher()
        publisher.publish([Outgoing(message=message, queue=QUEUE)], timeout=1.0)

    def post(
        self, *settlements: Settlement, loose: tuple[Effects, ...] = (), free: int = 0
    ) -> None:
        self.intake.post(settlements, loose, free=free, active=0, processed={})

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.bell.wait(0.05)
            self.bell.clear()
            taken = self.intake.take()
            self.admitted.extend(taken.admitted)
            self.terminate.extend(taken.revoked)
            self.escaped.extend(taken.escaped)

    def until_stats(self, wanted: tuple[int, int, int]) -> None:
        """Wait without taking anything."""
        deadline = time.monotonic() + PATIENCE
        while self.stats() != wanted:
            assert time.monotonic() < deadline, self.stats()
            self.bell.wait(0.01)

    def document(self, task_id: str) -> dict[str, Any] | None:
        record = self.backend.fetch([task_id]).get(task_id)
        return None if record is None else json.loads(record.document)

    def stats(self) -> tuple[int, int, int]:
        (stats,) = self.broker.stats(["celery"])
        return stats.ready, stats.claimed, stats.delayed


@pytest.fixture
def desks():
    opened: list[Desk] = []

    def open_desk(**plan_changes: Any) -> Desk:
        desk = Desk(**plan_changes)
        desk.intake.start()
        opened.append(desk)
        return desk

    yield open_desk
    for desk in opened:
        assert desk.intake.stop(PATIENCE)
        assert desk.intake.failure is None


def record(task_id: str = "id-1") -> ResultRecord:
    document = b'{"status": "SUCCESS", "result": 9, "task_id": "id-1"}'
    return ResultRecord(task_id=task_id, state="SUCCESS", document=document, final=True)


def done(admitted: Admitted) -> Settlement:
    return Settlement(admitted.delivery.receipt, Ack(), Effects((record(),)))


def test_it_claims_no_more_than_the_credit(desks):
    desk = desks()
    for number in range(5):
        desk.send(id=f"id-{number}")
    desk.post(free=2)
    desk.until(lambda: len(desk.admitted) == 2)
    assert [each.peek.id for each in desk.admitted] == ["id-0", "id-1"]
    assert desk.stats() == (3, 2, 0)


def test_settling_stores_the_result_and_claims_the_next_in_one_exchange(desks):
    desk = desks()
    desk.send(id="id-1")
    desk.send(id="id-2")
    desk.post(free=1)
    desk.until(lambda: len(desk.admitted) == 1)
    desk.post(done(desk.admitted[0]), free=1)
    desk.until(lambda: len(desk.admitted) == 2)
    assert desk.document("id-1")["result"] == 9
    assert desk.stats() == (0, 1, 0)


def test_an_early_task_is_acknowledged_before_it_is_handed_over(desks):
    desk = desks(tasks={"tasks.add": traits(early_ack=True)})
    desk.send()
    desk.post(free=1)
    desk.until(lambda: bool(desk.admitted))
    assert desk.admitted[0].acked
    assert desk.stats() == (0, 0, 0)
    desk.post(loose=(Effects((record(),)),), free=1)
    desk.until(lambda: desk.document("id-1") is not None)


def test_a_message_that_cannot_be_read_is_set_aside_and_the_next_one_runs(desks):
    desk = desks()
    bad = EncodedMessage(
        headers={}, properties={}, body=b"?", content_type="text/x", content_encoding="utf-8"
    )
    desk.put(bad)
    desk.send(id="good")
    desk.post(free=2)
    desk.until(lambda: bool(desk.admitted))
    assert [each.peek.id for each in desk.admitted] == ["good"]
    desk.until(lambda: desk.stats() == (0, 1, 0))


def test_an_expired_task_is_told_as_revoked(desks):
    desk = desks()
    desk.send(expires=datetime.now(UTC) - timedelta(hours=1))
    desk.post(free=1)
    desk.until(lambda: desk.document("id-1") is not None)
    assert desk.document("id-1")["status"] == "REVOKED"
    assert desk.stats() == (0, 0, 0)


def test_a_task_revoked_before_it_is_claimed_never_runs(desks):
    desk = desks()
    desk.broker.revoke([Revocation(task_id="id-1")], keep=60.0)
    desk.until(lambda: bool(desk.terminate))
    desk.send()
    desk.post(free=1)
    desk.until(lambda: desk.document("id-1") is not None)
    assert desk.document("id-1")["status"] == "REVOKED"
    assert not desk.admitted


def test_an_eta_in_the_future_goes_back_to_rest_in_the_store(desks):
    desk = desks()
    desk.send(eta=datetime.now(UTC) + timedelta(hours=1))
    desk.post(free=1)
    desk.until(lambda: desk.stats() == (0, 0, 1))
    assert not desk.admitted


def test_an_unknown_task_rests_and_nothing_is_lost(desks):
    desk = desks()
    desk.send(task="tasks.of_tomorrow")
    desk.post(free=1)
    desk.until(lambda: desk.stats() == (0, 0, 1))


def test_in_the_celery_profile_an_unknown_task_fails_at_once(desks):
    desk = desks(unknown_parks=False)
    desk.send(task="tasks.of_tomorrow")
    desk.post(free=1)
    desk.until(lambda: desk.document("id-1") is not None)
    assert desk.document("id-1")["result"]["exc_type"] == "NotRegistered"


@pytest.mark.parametrize("call", ["declare", "open_consumer", "extend"])
def test_a_broker_that_is_away_at_the_start_is_waited_for(call):
    desk = Desk()
    desk.broker.fail(call)
    desk.intake.start()
    desk.send()
    desk.post(free=1)
    desk.until(lambda: len(desk.admitted) == 1)
    assert desk.broker.failed[call] == 1
    assert desk.intake.stop(PATIENCE)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_settlement_survives_a_connection_that_breaks_over_it(desks, moment):
    desk = desks()
    desk.send(id="id-1")
    desk.send(id="id-2")
    desk.post(free=1)
    desk.until(lambda: len(desk.admitted) == 1)
    desk.broker.fail("exchange", moment)
    desk.post(done(desk.admitted[0]), free=1)
    desk.until(lambda: len(desk.admitted) == 2)
    assert desk.document("id-1")["result"] == 9
    assert desk.admitted[1].peek.id == "id-2"
    assert desk.escaped == []
    assert desk.stats() == (0, 1, 0)


def test_while_claims_are_held_the_broker_is_tried_often_enough_for_their_lease(desks, caplog):
    desk = desks(lease=1.0, renewal=0.3)
    desk.send()
    desk.post(free=1)
    desk.until(lambda: len(desk.admitted) == 1)
    desk.broker.fail("extend", times=5)
    desk.until(lambda: desk.broker.failed["extend"] == 5)
    pauses = re.findall(r"Trying again in ([\d.]+) s", caplog.text)
    assert pauses[:4] == ["0.1"] * 4  # a tenth of the lease, not twice as long each time


def test_claims_whose_answer_was_lost_go_back_to_the_queue(desks):
    desk = desks()
    desk.broker.fail("receive", "after")
    desk.send()
    desk.post(free=1)
    desk.until(lambda: len(desk.admitted) == 1)
    assert desk.broker.failed["receive"] == 1
    assert desk.stats() == (0, 1, 0)
    assert desk.admitted[0].delivery.count == 1


def test_after_effects_without_a_claim_it_looks_again_before_it_waits():
    desk = Desk()
    desk.intake.connect()
    desk.post(loose=(Effects((record(),)),), free=1)
    asked = []
    receive = desk.intake._receive
    desk.intake._receive = lambda *given: asked.append(given) or receive(*given)
    desk.intake.step(0.0)
    assert asked == []  # what was posted meanwhile would not have woken it
    desk.intake.step(0.0)
    assert len(asked) == 1


def test_what_was_revoked_before_it_was_claimed_is_not_admitted():
    desk = Desk()
    desk.send()
    desk.broker.revoke([Revocation(task_id="id-1")], keep=60.0)
    desk.post(free=1)
    desk.intake.connect()
    desk.intake.step(0.0)  # the very first claims of a worker
    taken = desk.intake.take()
    assert taken.admitted == ()
    desk.intake.step(0.0)
    (record,) = desk.backend.fetch(["id-1"]).values()
    assert record.state == "REVOKED"


def test_a_revocation_with_terminate_reaches_the_main_thread(desks):
    desk = desks()
    desk.broker.revoke([Revocation(task_id="id-9", terminate=True)], keep=60.0)
    desk.until(lambda: bool(desk.terminate))
    assert desk.terminate[0].task_id == "id-9"


def test_stopping_settles_what_was_posted_and_returns_the_rest():
    desk = Desk()
    desk.intake.start()
    desk.send(id="id-1")
    desk.send(id="id-2")
    desk.post(free=2)
    desk.until(lambda: len(desk.admitted) == 2)
    desk.post(done(desk.admitted[0]))
    assert desk.intake.stop(PATIENCE)
    assert desk.document("id-1")["result"] == 9
    assert desk.stats() == (1, 0, 0)


def test_a_batch_whose_early_acknowledgement_fails_loses_nothing_else(desks):
    known = {"tasks.add": traits(), "tasks.early": traits(early_ack=True)}
    desk = desks(tasks=known)
    for fields in ({"id": "late"}, {"id": "early", "task": "tasks.early"}):
        desk.send(**fields)
    desk.put(
        EncodedMessage(
            headers={}, properties={}, body=b"?", content_type="text/x", content_encoding="utf-8"
        )
    )
    desk.broker.fail("exchange", "before")
    desk.post(free=3)
    desk.until(lambda: [each.peek.id for each in desk.admitted] == ["late", "early"])
    desk.until(lambda: desk.stats() == (0, 1, 0))
    assert desk.broker.failed["exchange"] == 1


def test_an_early_task_that_nobody_took_is_sent_again_at_the_end():
    desk = Desk(tasks={"tasks.add": traits(early_ack=True)})
    desk.send()
    desk.post(free=1)
    desk.intake.start()
    assert desk.bell.wait(PATIENCE)
    desk.until_stats((0, 0, 0))
    assert desk.intake.stop(PATIENCE)
    assert desk.stats() == (1, 0, 0)


def test_stopping_while_the_broker_is_away_says_that_something_is_left():
    desk = Desk()
    desk.intake.start()
    desk.send()
    desk.post(free=1)
    desk.until(lambda: len(desk.admitted) == 1)
    desk.broker.fail("exchange", "before", times=10_000)
    desk.broker.fail("extend", "before", times=10_000)
    desk.post(done(desk.admitted[0]))
    assert not desk.intake.stop(0.3)
    assert desk.document("id-1") is None


def test_stopping_while_the_broker_was_never_there_is_quick():
    desk = Desk()
    desk.broker.fail("declare", "before", times=10_000)
    desk.intake.start()
    assert desk.intake.stop(PATIENCE)
