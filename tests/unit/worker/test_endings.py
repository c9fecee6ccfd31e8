"""How claims end that no executor can report."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from tests.unit.worker.values import NOW, delivery, peek, plan, traits
from umbel.errors import NotRegistered, TaskRevokedError, WorkerLostError
from umbel.model.delivery import Ack, Quarantine, Requeue, Settlement
from umbel.model.message import TaskMessage
from umbel.model.queues import Queue
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
    assert ending.verdict == Quarantine("nobody knows it", "tasks.new", "NotRegistered")
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


# --- what is set aside ----------------------------------------------------------------------------


def test_a_task_that_keeps_its_failures_is_set_aside_where_it_would_be_done():
    keeps = Run(traits(requeue_lost=False, quarantine_failures=True), None, 2.0)
    kept = Entry(1, delivery(), peek(), keeps, False)
    ending, _ = Endings(plan()).timed_out(kept, NOW)
    assert isinstance(ending.verdict, Quarantine)
    assert (ending.verdict.reason, ending.verdict.error) == ("time limit", "TimeLimitExceeded")
    ending, _ = Endings(plan()).lost(kept, -9, NOW)
    assert isinstance(ending.verdict, Quarantine)
    assert (ending.verdict.reason, ending.verdict.error) == ("worker lost", "WorkerLostError")
    assert stored(ending)[0]["status"] == "FAILURE"


def test_what_is_parked_says_why_and_what_waits_for_its_time_does_not():
    endings = Endings(plan())
    parked = endings.decided(delivery(), peek(), Rest(NOW, counted=True, why="unknown"), NOW)
    assert isinstance(parked.verdict, Requeue)
    assert parked.verdict.why == "unknown"
    early = endings.decided(delivery(), peek(), Rest(NOW, counted=False, why="not due yet"), NOW)
    assert isinstance(early.verdict, Requeue)
    assert early.verdict.why is None


def test_what_was_acknowledged_early_is_set_aside_without_a_claim():
    acked = Entry(1, delivery(raw=b"raw", count=2), peek(), Run(traits(), None, None), True)
    verdict = Quarantine("undecodable", "no JSON")
    settlement = Settlement(acked.delivery.receipt, verdict)
    effects = Endings(plan()).set_aside(acked, settlement, verdict)
    (aside,) = effects.asides
    assert (aside.queue, aside.raw, aside.count) == ("celery", b"raw", 2)
    assert (aside.verdict, aside.worker) == (verdict, "celery@here")


def test_the_record_tells_the_group_that_the_task_was_in():
    message = TaskMessage(id="id-1", task="tasks.add", group_id="group-1")
    encoded = task_v2.encode(message, serializer=SERIALIZERS.get("json"))
    drop = Drop("REVOKED", TaskRevokedError("revoked"), "revoked")
    claim = delivery(raw=envelope.dump_compact(encoded))
    (document,) = stored(Endings(plan()).decided(claim, peek(), drop, NOW))
    assert document["group_id"] == "group-1"


# --- workflows ------------------------------------------------------------------------------------

BODY = {
    "task": "tasks.sum",
    "args": [],
    "kwargs": {},
    "options": {"task_id": "body"},
    "subtask_type": None,
    "immutable": False,
}


def member(**changes):
    """A member of a chord's header, second of a chain, as a delivery."""
    last = {
        **BODY,
        "options": {"task_id": "last", "chord": BODY, "group_id": "g", "group_index": 3},
    }
    message = TaskMessage(
        **{
            "id": "id-1",
            "task": "tasks.add",
            "chain": [last],
            "errbacks": [{**BODY, "task": "tasks.tell"}],
            "root_id": "root",
            **changes,
        }
    )
    encoded = task_v2.encode(message, serializer=SERIALIZERS.get("json"))
    return delivery(raw=envelope.dump_compact(encoded), queue="celery")


def test_an_end_fills_the_slots_of_what_never_begins():
    dropped = Drop("REVOKED", TaskRevokedError("expired"), "expired")
    settlement = Endings(plan()).decided(member(), peek(), dropped, NOW)
    effects = settlement.effects
    assert [(one.task_id, one.state) for one in effects.records] == [
        ("id-1", "REVOKED"),
        ("last", "REVOKED"),
    ]
    (fill,) = effects.joins
    assert (fill.join_id, fill.task_id, fill.slot) == ("g", "last", 3)
    assert json.loads(fill.part)[:3] == [1, "last", "REVOKED"]
    then = envelope.load(fill.then.raw)
    assert (then.headers["task"], then.headers["root_id"]) == ("celery.chord_unlock", "root")
    assert fill.then.queue == Queue("celery")
    # Celery's rule: what was revoked or has expired calls no error callbacks.
    assert effects.outgoing == ()


def test_a_failure_has_an_executor_call_the_error_callbacks():
    aside = SetAside(WorkerLostError("gone"), "worker lost")
    settlement = Endings(plan()).decided(member(chain=None, chord=BODY), peek(), aside, NOW)
    (sent,) = settlement.effects.outgoing
    assert sent.message.headers["task"] == "celery.umbel_errbacks"
    request, errbacks, error = json.loads(sent.message.body)[0]
    assert (request["id"], error["exc_type"]) == ("id-1", "WorkerLostError")
    assert [one["task"] for one in errbacks] == ["tasks.tell"]
    again = Endings(plan()).decided(member(chain=None, chord=BODY), peek(), aside, NOW)
    assert again.effects.outgoing[0].message.headers["id"] == sent.message.headers["id"]


def test_a_task_that_nobody_knows_fails_its_chord_and_calls_its_error_callbacks():
    unknown = Drop("FAILURE", NotRegistered("tasks.add"), "nobody knows it")
    effects = Endings(plan()).decided(member(), peek(), unknown, NOW).effects
    assert [one.task_id for one in effects.joins] == ["last"]
    (sent,) = effects.outgoing
    assert sent.message.headers["task"] == "celery.umbel_errbacks"


@pytest.mark.parametrize("state", ["REVOKED", "FAILURE"])
def test_a_message_that_only_python_may_open_goes_to_an_executor_with_its_end(state):
    raw = chained(CHAIN, serializer="pickle")
    drop = Drop(state, TaskRevokedError("expired"), "expired")
    effects = Endings(plan()).decided(delivery(raw=raw), peek(reply_to="who"), drop, NOW).effects
    (sent,) = effects.outgoing
    headers = sent.message.headers
    assert (headers["task"], headers["parent_id"]) == ("celery.umbel_ended", "id-1")
    assert sent.message.properties["reply_to"] == "who"
    told, queue, how, error = json.loads(sent.message.body)[0]
    assert (base64.b64decode(told), queue, how) == (raw, "celery", state)
    assert error["exc_type"] == "TaskRevokedError"


def test_what_an_executor_is_told_of_is_not_told_by_a_message_too():
    followed = member(chain=None, chord=BODY)
    for claim in (followed, delivery(raw=chained(CHAIN, serializer="pickle"))):
        lost = Entry(1, claim, peek(), Run(traits(requeue_lost=False), None, 2.0), False)
        for ending, error in (
            Endings(plan()).lost(lost, -9, NOW),
            Endings(plan()).timed_out(lost, NOW),
        ):
            assert ending.effects.outgoing == ()
            later = Endings(plan()).told_later(lost, ending, error)
            assert len(later.effects.outgoing) == 1
            assert later.effects.joins == ending.effects.joins


def test_what_runs_again_tells_nobody_that_it_ended():
    again = Entry(1, member(), peek(), Run(traits(ack_timeout=False), None, 2.0), False)
    ending, error = Endings(plan()).timed_out(again, NOW)
    assert Endings(plan()).told_later(again, ending, error) is ending
