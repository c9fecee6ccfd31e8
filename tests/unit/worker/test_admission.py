"""Which deliveries may run, and what becomes of the others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.values import NOW, peek, plan, traits
from umbel.errors import NotRegistered, TaskRevokedError, WorkerLostError
from umbel.model.message import TaskMessage
from umbel.wire import envelope
from umbel.wire.rewriting import with_headers, withdrawn
from umbel.wire.serializers import JSON
from umbel.wire.task_v2 import encode
from umbel.worker.admission import PARKING_DELAYS, Drop, Rest, Run, SetAside, admit


def in_envelope() -> bytes:
    return envelope.dump_compact(encode(TaskMessage(id="id-1", task="tasks.add"), serializer=JSON))


def decide(a_peek=None, *, count=1, revoked=(), **plan_changes):
    return admit(
        a_peek or peek(), count=count, now=NOW, plan=plan(**plan_changes), revoked=dict(revoked)
    )


def test_a_known_task_that_is_due_runs():
    assert decide() == Run(traits(), None, None)


@pytest.mark.parametrize(
    ("call", "task", "worker", "expected"),
    [(1.0, 2.0, 3.0, 1.0), (None, 2.0, 3.0, 2.0), (None, None, 3.0, 3.0), (None, None, None, None)],
)
def test_a_limit_of_the_call_wins_over_the_task_and_the_task_over_the_worker(
    call, task, worker, expected
):
    decision = decide(
        peek(soft_limit=call, hard_limit=call),
        tasks={"tasks.add": traits(soft_limit=task, hard_limit=task)},
        soft_limit=worker,
        hard_limit=worker,
    )
    assert isinstance(decision, Run)
    assert (decision.soft_limit, decision.hard_limit) == (expected, expected)


def test_a_revoked_task_is_dropped_as_revoked():
    decision = decide(revoked={"id-1": True}.items())
    assert isinstance(decision, Drop)
    assert decision.state == "REVOKED"
    assert isinstance(decision.error, TaskRevokedError)
    assert decision.error.args == ("revoked",)


def test_an_expired_task_is_dropped_as_expired():
    decision = decide(peek(expires=NOW - timedelta(seconds=1)))
    assert isinstance(decision, Drop)
    assert decision.error.args == ("expired",)


def test_what_was_cancelled_while_it_rested_is_dropped_as_that():
    raw = with_headers(in_envelope(), {"expires": "2026-01-01T00:00:00"})
    decision = decide(envelope.peek(withdrawn(raw)))
    assert isinstance(decision, Drop)
    assert (decision.state, decision.error.args) == ("REVOKED", ("cancelled",))


def test_a_task_that_expires_right_now_still_runs():
    assert isinstance(decide(peek(expires=NOW)), Run)


def test_a_task_before_its_eta_rests_and_no_attempt_is_counted():
    eta = NOW + timedelta(days=1)
    assert decide(peek(eta=eta)) == Rest(eta, counted=False, why="not due yet")


def test_revocation_wins_over_an_eta():
    eta = NOW + timedelta(days=1)
    assert isinstance(decide(peek(eta=eta), revoked={"id-1": True}.items()), Drop)


@pytest.mark.parametrize("count", range(1, len(PARKING_DELAYS) + 1))
def test_an_unknown_task_waits_for_a_worker_that_knows_it(count):
    decision = decide(peek(task="tasks.new"), count=count)
    assert isinstance(decision, Rest)
    assert decision.until == NOW + timedelta(seconds=PARKING_DELAYS[count - 1])
    assert "no task named 'tasks.new' is registered here" in decision.why


def test_an_unknown_task_that_nobody_learns_is_set_aside_and_told_as_failed():
    decision = decide(peek(task="tasks.new"), count=len(PARKING_DELAYS) + 1)
    assert isinstance(decision, SetAside)
    assert isinstance(decision.error, NotRegistered)


def test_celery_workers_fail_an_unknown_task_at_once():
    decision = decide(peek(task="tasks.new"), unknown_parks=False)
    assert isinstance(decision, Drop)
    assert decision.state == "FAILURE"
    assert isinstance(decision.error, NotRegistered)
    assert decision.error.args == ("tasks.new",)


def test_a_message_that_kills_every_worker_is_set_aside():
    decision = decide(count=4)
    assert isinstance(decision, SetAside)
    assert isinstance(decision.error, WorkerLostError)
    assert "delivered 3 times without an outcome" in decision.why


@given(st.integers(min_value=1, max_value=3))
def test_up_to_the_limit_it_runs(count):
    assert isinstance(decide(count=count), Run)


def test_without_a_limit_it_runs_however_often():
    assert isinstance(decide(count=1000, max_deliveries=None), Run)
