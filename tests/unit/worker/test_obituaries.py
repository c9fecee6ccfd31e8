"""Ends that the supervisor finds, and what an executor adds to them."""

from __future__ import annotations

import pytest

from umbel.app.app import App
from umbel.errors import TimeLimitExceeded, WorkerLostError
from umbel.model.assignment import Assignment, Report
from umbel.model.delivery import Ack, Effects, Quarantine, Receipt, Requeue, Settlement
from umbel.model.message import TaskMessage
from umbel.model.outcome import ResultRecord
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode
from umbel.worker.execution import Execution
from umbel.worker.obituaries import Found, completed, error_of, is_followed

CALLED = {"task": "errback", "args": [], "kwargs": {}, "options": {}}
OWN = ResultRecord(task_id="id-1", state="FAILURE", document=b"ours", final=True)
ENDED = Settlement(Receipt("r-1"), Ack(), Effects((OWN,)))


def raw(serializer: str = "json", **fields) -> bytes:
    message = TaskMessage(id="id-1", task="work", **fields)
    return envelope.dump_compact(encode(message, serializer=SERIALIZERS.get(serializer)))


def told(found: Found, message: bytes, app: App) -> Report:
    execution = Execution(app, node="celery@here", pid=1)
    assignment = Assignment(1, message, "celery", 1, False, None, None, False, found.obituary)
    return execution.run(execution.prepare(assignment))


@pytest.fixture
def app() -> App:
    app = App("obituaries", broker="memory://obituaries", backend="memory://obituaries")
    heard = []

    @app.task(name="work")
    def work() -> None:
        heard.append("it ran")

    @app.task(name="errback")
    def errback(request, error, traceback) -> None:
        heard.append((request.id, error))

    app.heard = heard
    app.finalize()
    return app


@pytest.mark.parametrize(
    ("fields", "followed"),
    [
        ({}, False),
        ({"errbacks": [CALLED]}, True),
        ({"serializer": "pickle"}, True),  # nobody may look here
    ],
)
def test_only_who_is_followed_needs_an_executor(fields, followed):
    assert is_followed(raw(**fields), ENDED) is followed


def test_what_runs_again_has_not_ended():
    again = Settlement(Receipt("r-1"), Requeue(front=False, counted=True))
    assert not is_followed(raw(errbacks=[CALLED]), again)


@pytest.mark.parametrize("error", [TimeLimitExceeded(30), WorkerLostError("it died")])
def test_an_executor_calls_who_follows_with_the_error_that_was_found(app, error):
    found = Found(ENDED, "FAILURE", error)
    report = told(found, raw(errbacks=[CALLED]), app)
    ((task_id, heard),) = app.heard
    assert task_id == "id-1"
    assert type(heard) is type(error)
    assert heard.args == error.args
    settlement = completed(found, report)
    assert settlement.verdict == Ack()
    assert b"errback" not in settlement.effects.records[0].document
    assert type(error).__name__.encode() in settlement.effects.records[0].document


def test_the_verdict_stays_what_it_was(app):
    aside = Settlement(Receipt("r-1"), Quarantine("worker lost"), Effects((OWN,)))
    found = Found(aside, "LOST", WorkerLostError("it died"))
    report = told(found, raw(errbacks=[CALLED]), app)
    assert completed(found, report).verdict == Quarantine("worker lost")


def test_where_the_executor_cannot_tell_the_end_is_settled_as_it_is(app):
    found = Found(ENDED, "LOST", WorkerLostError("it died"))
    elsewhere = encode(
        TaskMessage(id="id-1", task="unknown", errbacks=[CALLED]),
        serializer=SERIALIZERS.get("json"),
    )
    report = told(found, envelope.dump_compact(elsewhere), app)
    assert report.state == "REJECTED"
    assert completed(found, report) is ENDED


def test_an_error_survives_the_way_to_the_executor():
    found = Found(ENDED, "FAILURE", TimeLimitExceeded(1.5))
    assert error_of(found.obituary).args == (1.5,)
