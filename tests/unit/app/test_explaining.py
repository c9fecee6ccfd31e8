"""Why a task is not running: each cause alone, and which comes first."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from umbel.app.app import App
from umbel.app.explaining import CHECKS, Finding, Inquiry, explain
from umbel.model.delivery import Ack, Effects, Quarantine, Settlement
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence

from .mailbox import take

SOON = 0.05
"""Seconds to wait for workers, of which these tests have none that answers."""


@pytest.fixture
def send(app: App) -> Any:
    @app.task(name="proj.add")
    def add(x: int = 0) -> int:
        return x

    def send(task_id: str, **options: Any) -> None:
        add.apply_async(task_id=task_id, **options)

    return send


def why(app: App, task_id: str) -> Any:
    return explain(app, task_id, timeout=SOON)


@pytest.fixture
def consumer(app: App) -> Iterator[Any]:
    """A worker with two slots that consumes the default queue."""
    presence = Presence(
        owner="o1",
        name="w1@test",
        pid=1,
        pool="solo",
        concurrency=2,
        queues=("celery",),
        version="0",
        started=time.time(),
        active=2,
    )
    queues = [app.router.named("celery")]
    opened = app.broker.open_consumer(
        queues, presence=presence, lease=30.0, results=app.result_backend
    )
    opened.exchange([], 0)
    yield opened
    opened.close()


def test_an_id_that_nobody_knows(app: App) -> None:
    told = why(app, "nobody")
    assert not told.found
    assert told.verdict.startswith("Nothing is known of nobody: it is in none of the queues celery")


def test_nobody_consumes_its_queue(app: App, send: Any, consumer: Any) -> None:
    send("t1", queue="reports")
    assert not why(app, "t1").found
    told = explain(app, "t1", timeout=SOON, queues=["reports"])
    assert told.verdict == (
        "No worker consumes queue reports: those alive consume celery. Start one with -Q reports."
    )
    assert [one.check for one in told.findings] == ["consumed", "waiting"]


def test_its_queue_was_paused(app: App, send: Any, consumer: Any) -> None:
    send("t1")
    app.control.pause("celery", by="ann")
    told = why(app, "t1")
    assert told.verdict.startswith("Queue celery was paused by ann at ")
    assert told.findings[0].facts["by"] == "ann"
    app.control.resume(["celery"])
    assert "at position 1" in why(app, "t1").verdict


def test_the_queue_of_a_task_is_looked_into(app: App, consumer: Any) -> None:
    @app.task(name="proj.report", queue="nightly")
    def report() -> None:
        pass

    report.apply_async(task_id="t1")
    assert "No worker consumes queue nightly" in why(app, "t1").verdict


def test_it_waits_its_turn_behind_the_more_urgent(app: App, send: Any, consumer: Any) -> None:
    send("other")
    send("t1")
    send("urgent", priority=0)
    send("late", priority=9)
    told = why(app, "late")
    (waiting,) = told.findings
    assert waiting.facts["position"] == 4
    assert (waiting.facts["busy"], waiting.facts["slots"]) == (2, 2)
    assert "at position 4, since " in told.verdict
    assert told.verdict.endswith("1 worker with 2 of 2 slots busy.")


def test_it_is_due_later(app: App, send: Any, consumer: Any) -> None:
    send("t1", countdown=600)
    told = why(app, "t1")
    assert told.verdict.startswith("It is due at ")
    assert re.search(r", in (600|5\d\d) s, in queue celery\.$", told.verdict)
    assert told.findings[0].facts["kind"] == "delayed"


def test_its_next_try_is_due_later(app: App, send: Any, consumer: Any) -> None:
    send("t1", countdown=600, retries=2)
    assert why(app, "t1").verdict.startswith("Its try number 3 is due at ")


def test_it_was_set_aside(app: App, send: Any, consumer: Any) -> None:
    send("t1")
    (delivery,) = consumer.exchange([], 1).deliveries
    verdict = Quarantine("worker lost", None, "WorkerLostError")
    consumer.exchange([Settlement(delivery.receipt, verdict)], 0)
    told = why(app, "t1")
    assert told.verdict.startswith("It was set aside in queue celery at ")
    assert "worker lost (WorkerLostError). umbel quarantine retry t1" in told.verdict


def test_it_expired_while_it_waited(app: App, send: Any, consumer: Any) -> None:
    with pytest.warns(UserWarning, match="is past"):
        send("t1", expires=datetime.now(UTC) - timedelta(seconds=5))
    told = why(app, "t1")
    assert [one.check for one in told.findings] == ["expired", "waiting"]


def test_it_is_over(app: App, send: Any, consumer: Any) -> None:
    send("t1")
    (delivery,) = consumer.exchange([], 1).deliveries
    record = ResultRecord(task_id="t1", state="SUCCESS", document=b"{}", final=True)
    consumer.exchange([Settlement(delivery.receipt, Ack(), Effects(records=(record,)))], 0)
    assert why(app, "t1").verdict == "It is over: its stored state is SUCCESS."


def test_claimed_and_nobody_answers(app: App, send: Any, consumer: Any) -> None:
    send("t1")
    assert take(app)
    assert not why(app, "t1").found


def test_a_message_that_only_mentions_the_id_is_another_one(app: App, send: Any) -> None:
    send("parent-t1")
    assert not why(app, "t1").found


def test_others_can_add_a_check(app: App, send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def held_by(inquiry: Inquiry) -> Iterator[Finding]:
        if inquiry.waiting is not None:
            yield Finding(check="limit", says="The limit is held by a, b.", reason=True)

    monkeypatch.setattr("umbel.app.explaining.CHECKS", (held_by, *CHECKS))
    send("t1")
    assert why(app, "t1").verdict == "The limit is held by a, b."
