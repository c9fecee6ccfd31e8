"""What monitors are told of a task's life, and what it costs when nobody wants to know."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.worker.values import traits
from umbel.clock import LogicalClock
from umbel.errors import NotRegistered, TaskRevokedError, WorkerLostError
from umbel.model.assignment import Account, Report
from umbel.model.delivery import Ack, Delivery, Quarantine, Receipt, Requeue, Settlement
from umbel.model.lifecycle import Step
from umbel.model.message import TaskMessage
from umbel.monitoring.emitter import Emitter
from umbel.wire import envelope
from umbel.wire.serializers import JSON
from umbel.wire.task_v2 import encode
from umbel.worker.admission import Drop, Run, SetAside
from umbel.worker.ledger import Entry
from umbel.worker.observing import Observer

NOW = 1_700_000_000.0
ACKED = Settlement(Receipt("r"), Ack())
BACK = Settlement(Receipt("r"), Requeue())


@pytest.fixture
def emitter():
    return Emitter("w1@here", 42, LogicalClock(), lambda: NOW)


@pytest.fixture
def observer(emitter):
    return Observer(emitter, lambda: NOW, watching=True)


def peeked(**fields):
    message = TaskMessage(id="id-1", task="tasks.add", root_id="id-1", **fields)
    return envelope.peek(envelope.dump_compact(encode(message, serializer=JSON)))


def entry(step=Step.RUNNING, send_events=True, **fields):
    run = Run(traits(send_events=send_events), None, None)
    return Entry(1, Delivery(Receipt("r"), "celery", b""), peeked(**fields), run, False, step)


def report(state, verdict=None, account=None, seconds=0.25):
    return Report(1, state, verdict or Ack(), (), (), seconds, account=account)


def told(emitter):
    return [
        {k: v for k, v in event.items() if k not in ("hostname", "pid", "clock", "timestamp")}
        for event in emitter.take(100)
    ]


def test_received_tells_what_the_message_says(observer, emitter):
    eta = datetime(2030, 1, 2, tzinfo=UTC)
    observer.received(entry(args=(4, 5), argsrepr="(4, 5)", kwargsrepr="{}", eta=eta, retries=2))
    assert told(emitter) == [
        {
            "type": "task-received",
            "uuid": "id-1",
            "name": "tasks.add",
            "args": "(4, 5)",
            "kwargs": "{}",
            "root_id": "id-1",
            "parent_id": None,
            "retries": 2,
            "eta": "2030-01-02T00:00:00+00:00",
            "expires": None,
        }
    ]


def test_every_event_says_who_and_when_and_in_which_order(observer, emitter):
    observer.began(entry())
    observer.began(entry())
    first, second = emitter.take(2)
    assert (first["hostname"], first["pid"], first["timestamp"]) == ("w1@here", 42, NOW)
    assert first["clock"] < second["clock"]


@pytest.mark.parametrize(
    ("state", "verdict", "account", "event"),
    [
        (
            "SUCCESS",
            Ack(),
            Account("9"),
            {"type": "task-succeeded", "result": "9", "runtime": 0.25},
        ),
        (
            "FAILURE",
            Ack(),
            Account(None, "ValueError('no')", "Trace"),
            {"type": "task-failed", "exception": "ValueError('no')", "traceback": "Trace"},
        ),
        (
            "RETRY",
            Ack(),
            Account(None, "OSError()", "Trace"),
            {"type": "task-retried", "exception": "OSError()", "traceback": "Trace"},
        ),
        ("REJECTED", Requeue(), None, {"type": "task-rejected", "requeue": True}),
        ("REJECTED", Quarantine("x"), None, {"type": "task-rejected", "requeue": False}),
    ],
)
def test_each_end_is_told(observer, emitter, state, verdict, account, event):
    observer.ended(entry(), ACKED, report(state, verdict, account))
    assert told(emitter) == [{"uuid": "id-1", **event}]


def test_an_ignored_task_tells_no_end(observer, emitter):
    observer.ended(entry(), ACKED, report("IGNORED"))
    assert told(emitter) == []


def test_a_beginning_that_nobody_told_is_told_with_the_end(observer, emitter):
    observer.ended(entry(Step.ASSIGNED), ACKED, report("SUCCESS", account=Account("9")))
    started, succeeded = emitter.take(2)
    assert (started["type"], succeeded["type"]) == ("task-started", "task-succeeded")
    assert started["timestamp"] == NOW - 0.25


def test_revoked_lost_and_ended_by_the_worker(observer, emitter):
    terminated = entry()
    terminated.signum = 2
    observer.ended(terminated, ACKED, "terminated")
    observer.ended(entry(), ACKED, WorkerLostError("killed"))
    observer.ended(entry(), BACK, WorkerLostError("killed"))
    observer.ended(entry(), BACK, None)
    lost = {"exception": "WorkerLostError('killed')", "traceback": "killed"}
    assert told(emitter) == [
        {
            "type": "task-revoked",
            "uuid": "id-1",
            "terminated": True,
            "signum": 2,
            "expired": False,
        },
        {"type": "task-failed", "uuid": "id-1", **lost},
        {"type": "task-failed", "uuid": "id-1", **lost},
        {"type": "task-rejected", "uuid": "id-1", "requeue": True},
        {"type": "task-cancelled", "uuid": "id-1"},
    ]


def test_what_is_never_run_is_told(observer, emitter):
    for why in ("revoked", "expired"):
        observer.refused(peeked(), Drop("REVOKED", TaskRevokedError(why), why))
    observer.refused(peeked(), SetAside(NotRegistered("x"), "unknown"))
    events = told(emitter)
    assert [event.get("expired") for event in events] == [False, True, None]
    assert events[2]["type"] == "task-failed"
    assert "NotRegistered" in events[2]["exception"]


def all_of(observer, about):
    observer.received(about)
    observer.began(about)
    observer.ended(about, ACKED, report("SUCCESS", account=Account("9")))
    observer.ended(about, ACKED, "revoked")
    observer.ended(about, ACKED, None)


def test_a_task_that_sends_no_events_sends_none(observer, emitter):
    all_of(observer, entry(send_events=False))
    assert told(emitter) == []


def test_nothing_is_told_while_nobody_watches(observer, emitter):
    observer.watching = False
    all_of(observer, entry())
    observer.refused(peeked(), Drop("REVOKED", TaskRevokedError("revoked"), "revoked"))
    assert told(emitter) == []


def test_what_is_kept_is_made_known_once_it_is_there(emitter):
    nudges = []
    observer = Observer(
        emitter, lambda: NOW, watching=True, notify=lambda: nudges.append(len(emitter))
    )
    observer.flush()
    observer.began(entry())
    observer.flush()
    assert nudges == [1]
