"""How claims end that no executor can report."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.unit.worker.values import NOW, delivery, peek, plan, traits
from umbel.errors import NotRegistered, TaskRevokedError, WorkerLostError
from umbel.model.delivery import Ack, Quarantine, Requeue
from umbel.model.message import TaskMessage
from umbel.wire import envelope, task_v2
from umbel.wire.serializers import SERIALIZERS
from umbel.worker.admission import Drop, Rest, Run, SetAside
from umbel.worker.endings import LOST_DELAYS, Endings
from umbel.worker.ledger import Entry


def entry(*, count=1, acked=False, hard=None, **trait_changes):
    run = Run(traits(**trait_changes), None, hard)
    return Entry(1, delivery(count=count), peek(), run, acked)


def stored(settlement):
    return [json.loads(record.document) for record in settlement.effects.records]


def test_resting_goes_back_to_the_queue_until_its_time():
    until = NOW + timedelta(seconds=60)
    ending = Endings(plan()).decided(delivery(), peek(), Rest(until, False, "eta"), NOW)
    assert ending.verdict == Requeue(due_at=until, front=True, counted=False)
    assert stored(ending) == []


def test_dropping_acknowledges_and_tells_who_waits():
    drop = Drop("REVOKED", TaskRevokedError("expired"), "expired")
    ending = Endings(plan()).decided(delivery(), peek(), drop, NOW)
    assert ending.verdict == Ack()
    (document,) = stored(ending)
    assert document["status"] == "REVOKED"
    assert document["result"]["exc_type"] == "TaskRevokedError"
    assert document["result"]["exc_module"] == "celery.exceptions"
    assert document["task_id"] == "id-1"


def test_setting_aside_keeps_the_message_and_tells_who_waits():
    aside = SetAside(NotRegistered("tasks.new"), "nobody knows it")
    ending = Endings(plan()).decided(delivery(), peek(), aside, NOW)
    assert ending.verdict == Quarantine("nobody knows it")
    assert stored(ending)[0]["status"] == "FAILURE"


def test_nothing_is_stored_where_the_result_is_ignored():
    drop = Drop("REVOKED", TaskRevokedError("expired"), "expired")
    ending = Endings(plan()).decided(delivery(), peek(ignore_result=True), drop, NOW)
    assert stored(ending) == []


def test_nothing_is_stored_without_a_result_backend():
    drop = Drop("REVOKED", TaskRevokedError("expired"), "expired")
    ending = Endings(plan(backend_url=None)).decided(delivery(), peek(), drop, NOW)
    assert stored(ending) == []


def test_what_was_not_begun_goes_back_as_if_never_claimed():
    assert Endings(plan()).handed_back(entry()).verdict == Requeue(front=True, counted=False)


def test_a_hard_time_limit_fails_the_task():
    ending, error = Endings(plan()).timed_out(entry(hard=5.0), NOW)
    assert ending.verdict == Ack()
    assert error.args == (5.0,)
    assert stored(ending)[0]["result"]["exc_type"] == "TimeLimitExceeded"


def test_without_ack_on_timeout_it_runs_again():
    ending, _ = Endings(plan()).timed_out(entry(hard=5.0, ack_timeout=False), NOW)
    assert ending.verdict == Requeue(front=False, counted=True)


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_whose_executor_died_runs_again_a_little_later(count):
    ending, error = Endings(plan()).lost(entry(count=count), -9, NOW)
    assert str(error) == "the executor was killed by signal 9 (SIGKILL) while it ran this task"
    assert isinstance(ending.verdict, Requeue)
    assert ending.verdict.counted
    delay = LOST_DELAYS[count - 1]
    assert ending.verdict.due_at == (NOW + timedelta(seconds=delay) if delay else None)
    assert stored(ending) == []


def test_a_task_that_kills_every_executor_is_set_aside_with_the_reason():
    ending, _ = Endings(plan()).lost(entry(count=3), -9, NOW)
    assert isinstance(ending.verdict, Quarantine)
    assert ending.verdict.reason == "worker lost"
    (document,) = stored(ending)
    assert document["status"] == "FAILURE"
    assert document["result"]["exc_type"] == "WorkerLostError"


def test_celery_semantics_fail_a_task_whose_executor_died():
    ending, error = Endings(plan()).lost(entry(requeue_lost=False), 3, NOW)
    assert ending.verdict == Ack()
    assert isinstance(error, WorkerLostError)
    assert "exited with code 3" in stored(ending)[0]["result"]["exc_message"][0]


def chained(chain, serializer="json"):
    message = TaskMessage(id="id-1", task="tasks.add", args=(1, 2), chain=chain)
    encoded = task_v2.encode(message, serializer=SERIALIZERS.get(serializer))
    return envelope.dump_compact(encoded)


def step(task_id):
    return {"task": "tasks.next", "args": [], "kwargs": {}, "options": {"task_id": task_id}}


CHAIN = [step("id-3"), step("id-2")]


def told(settlement):
    return {record.task_id: record.state for record in settlement.effects.records}


def test_who_waits_for_the_end_of_a_chain_hears_that_a_step_will_never_end():
    endings, raw = Endings(plan()), chained(CHAIN)
    failed = dict.fromkeys(("id-1", "id-2", "id-3"), "FAILURE")
    lost = Entry(1, delivery(raw=raw), peek(), Run(traits(requeue_lost=False), None, 2.0), False)
    assert told(endings.lost(lost, -9, NOW)[0]) == failed
    assert told(endings.timed_out(lost, NOW)[0]) == failed
    aside = SetAside(NotRegistered("tasks.new"), "nobody knows it")
    assert told(endings.decided(delivery(raw=raw), peek(), aside, NOW)) == failed
    drop = Drop("REVOKED", TaskRevokedError("expired"), "expired")
    assert told(endings.decided(delivery(raw=raw), peek(), drop, NOW)) == dict.fromkeys(
        failed, "REVOKED"
    )
    assert told(endings.terminated(lost, NOW)) == dict.fromkeys(failed, "REVOKED")


def test_the_steps_of_a_chain_are_left_alone_while_the_task_may_run_again():
    endings, raw = Endings(plan()), chained(CHAIN)
    again = Run(traits(ack_timeout=False), None, 2.0)
    entry = Entry(1, delivery(raw=raw), peek(), again, False)
    assert told(endings.lost(entry, -9, NOW)[0]) == {}
    assert told(endings.timed_out(entry, NOW)[0]) == {"id-1": "FAILURE"}


@pytest.mark.parametrize(
    "raw",
    [
        b"not an envelope",
        chained(CHAIN, serializer="pickle"),
        chained(["no step", {"task": "tasks.next"}, {"options": None}, step(None)]),
    ],
    ids=["undecodable", "pickled", "of no shape"],
)
def test_a_body_that_is_no_chain_to_be_read_ends_its_own_task_only(raw):
    drop = Drop("REVOKED", TaskRevokedError("expired"), "expired")
    assert told(Endings(plan()).decided(delivery(raw=raw), peek(), drop, NOW)) == {
        "id-1": "REVOKED"
    }
