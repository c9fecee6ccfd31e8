"""Ends that are hard to tell: an executor tells them all the same, and lives on."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from umbel import Umbel
from umbel.errors import Reject
from umbel.model.assignment import Assignment
from umbel.model.delivery import Ack, Quarantine
from umbel.model.message import TaskMessage
from umbel.wire import envelope
from umbel.wire.portable_errors import from_portable
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode
from umbel.worker.execution import Execution

SPIRAL = {
    "task": "celery.group",
    "args": [],
    "kwargs": {"tasks": [3]},
    "options": {},
    "subtask_type": "group",
    "immutable": False,
}
PLAIN = SPIRAL | {"kwargs": {}} | {"task": "other.tell", "subtask_type": None}


@pytest.fixture
def app():
    app = Umbel("desk", broker="memory://", result_backend="memory://", set_as_current=False)
    app.told = []

    @app.task(name="fail")
    def fail(junk=None):
        raise ValueError("no")

    @app.task(name="refuse")
    def refuse(reason=None):
        raise Reject(reason)

    @app.task(name="tell")
    def tell(request, error, traceback):
        app.told.append(str(error))

    yield app
    app.close()


def run(app, task, serializer="json", **fields):
    message = TaskMessage(id="id-1", task=task, **fields)
    raw = envelope.dump_compact(encode(message, serializer=SERIALIZERS.get(serializer)))
    execution = Execution(app, node="one@test", pid=1)
    prepared = execution.prepare(Assignment(1, raw, "celery", 1, False, None, None))
    return execution.run(prepared)


def signature(task):
    return PLAIN | {"task": task}


def document(report):
    return json.loads(report.records[0].document)


@pytest.mark.parametrize(
    "errback", [SPIRAL, PLAIN | {"options": {"priority": "high"}}], ids=("spiral", "odd")
)
def test_an_error_callback_that_cannot_be_sent_is_logged_and_the_failure_stays(
    app, caplog, errback
):
    with caplog.at_level(logging.ERROR):
        report = run(app, "fail", errbacks=[errback, signature("other.tell"), signature("tell")])
    assert report.state == "FAILURE"
    assert isinstance(report.verdict, Ack)
    assert document(report)["result"]["exc_type"] == "ValueError"
    assert app.told == ["no"]  # once: nothing is run again
    assert len(report.outgoing) == 1
    assert "Task fail[id-1] failed, and an error callback of it cannot be sent" in caplog.text


def test_a_callback_that_cannot_be_sent_fails_the_task_and_tells_its_error_callbacks_once(app):
    @app.task(name="add")
    def add():
        return 1

    report = run(app, "add", callbacks=[SPIRAL], errbacks=[SPIRAL, signature("tell")])
    assert report.state == "FAILURE"
    assert document(report)["result"]["exc_type"] == "DecodeError"
    assert len(app.told) == 1


def test_a_failure_whose_record_cannot_be_made_is_told_with_nothing_else_in_it(app, caplog):
    app.conf.update(accept_content=["pickle"], result_extended=True)
    junk = {"junk": Decimal}  # pickle carries a class, JSON does not
    report = run(app, "fail", serializer="pickle", kwargs=junk, errbacks=[signature("tell")])
    assert report.state == "FAILURE"
    assert document(report)["result"]["exc_message"] == ["no"]
    assert app.told == ["no"]
    assert "its failure is stored without arguments and children" in caplog.text


def test_a_rejection_is_told_by_its_reason_and_can_be_made_again(app, caplog):
    with caplog.at_level(logging.WARNING):
        report = run(app, "refuse", kwargs={"reason": "out of paper"})
    assert "rejected: out of paper (set aside)" in caplog.text
    assert report.verdict == Quarantine("rejected", "out of paper", "Reject")
    stored = document(report)["result"]
    assert stored["exc_message"] == ["out of paper", False]
    again = from_portable(stored)
    assert (type(again), str(again)) == (Reject, "out of paper")


def test_the_words_of_a_rejection():
    assert str(Reject()) == "no reason given"
    assert str(Reject(ValueError("no"), requeue=True)) == "no"
    assert repr(Reject("late", requeue=True)) == "reject requeue=True: late"


@pytest.mark.parametrize(("retries", "reason"), [(0, "failed"), (3, "retries exhausted")])
def test_a_final_failure_is_set_aside_where_the_task_asks_for_it(app, retries, reason):
    app.conf.update(task_quarantine_failures=True)
    report = run(app, "fail", retries=retries)
    assert report.state == document(report)["status"] == "FAILURE"
    assert isinstance(report.verdict, Quarantine)
    assert (report.verdict.reason, report.verdict.error) == (reason, "ValueError")
    assert "Traceback" in report.verdict.detail
    assert "raise ValueError" in report.verdict.detail


def test_an_expected_failure_is_not_set_aside_and_nor_is_a_retry(app):
    @app.task(name="expected", throws=(KeyError,), quarantine_failures=True)
    def expected():
        raise KeyError("fine")

    @app.task(name="again", bind=True, quarantine_failures=True)
    def again(self):
        raise self.retry(countdown=5)

    assert run(app, "expected").verdict == Ack()
    assert run(app, "again").verdict == Ack()
    assert isinstance(run(app, "again", retries=3).verdict, Quarantine)
