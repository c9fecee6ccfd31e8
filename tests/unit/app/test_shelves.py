"""``app.quarantine`` and ``app.delayed``: what is found, what is moved, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.app.mailbox import take
from umbel.app.app import App
from umbel.app.shelf_entries import PAGE
from umbel.errors import NotResting, TaskRevokedError, UnsupportedProtocol, UsageError
from umbel.model.delivery import Quarantine
from umbel.model.shelves import Aside
from umbel.testing.conformance.station import new_id, record
from umbel.wire import envelope
from umbel.wire.envelope import dump_compact, dump_kombu
from umbel.wire.rewriting import WITHDRAWN, with_headers

SOON = datetime(2200, 1, 1, tzinfo=UTC)


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{new_id()}"
    with App("shop", broker=url, backend=url, set_as_current=False) as app:

        @app.task(name="shop.add")
        def add(x: int, y: int = 0) -> int:
            return x + y

        @app.task(name="shop.mail", ignore_result=True)
        def mail() -> None:
            pass

        yield app


def aside(
    app: App,
    task: str = "shop.add",
    *,
    error: str | None = "ValueError",
    queue: str = "celery",
    **headers: object,
) -> str:
    """Put a sent task into quarantine, with the failure stored for it; return its id."""
    result = app.send_task(task, (1,), queue=queue)
    (sent,) = take(app, queue)
    raw = dump_compact(sent.encoded)
    if headers:
        raw = with_headers(raw, headers)
    verdict = Quarantine("failed", "Traceback: …", error)
    app.broker.shelves().set_aside(
        [Aside(queue=queue, raw=raw, verdict=verdict, count=2, worker="w@h")]
    )
    app.result_backend.store([record(result.id, "FAILURE")])
    return result.id


def test_an_entry_tells_what_a_person_asks(app: App) -> None:
    task_id = aside(app, retries=3)
    (one,) = app.quarantine.list()
    assert (one.task, one.task_id, one.queue) == ("shop.add", task_id, "celery")
    assert (one.args, one.kwargs, one.retries, one.deliveries) == ("(1,)", "{}", 3, 2)
    assert (one.reason, one.error, one.detail) == ("failed", "ValueError", "Traceback: …")
    assert one.worker == "w@h"
    assert abs(one.since - datetime.now(UTC)) < timedelta(minutes=1)
    assert app.quarantine.get(task_id) == app.quarantine.get(one.key) == one


def test_what_cannot_be_read_is_shown_all_the_same_and_can_be_dropped(app: App) -> None:
    verdict = Quarantine("undecodable", "no JSON")
    app.broker.shelves().set_aside([Aside(queue="celery", raw=b"\xff{", verdict=verdict)])
    (one,) = app.quarantine.list()
    assert (one.task, one.task_id, one.raw) == (None, None, b"\xff{")
    assert app.quarantine.retry(one.key) == 1
    app.broker.shelves().set_aside([Aside(queue="celery", raw=b"\xff{", verdict=verdict)])
    (one,) = app.quarantine.list()
    assert app.quarantine.discard(one.key) == 1
    assert app.quarantine.count() == 0


def test_filters_choose(app: App) -> None:
    first = aside(app, "shop.add")
    second = aside(app, "shop.mail", error="KeyError")
    third = aside(app, "other.thing", queue="slow")

    def found(**filters: object) -> list[str | None]:
        return [one.task_id for one in app.quarantine.list(**filters)]  # type: ignore[arg-type]

    assert found() == [first, second]
    assert found(queues=["celery", "slow"]) == [first, second, third]
    assert found(queues="slow") == [third]
    assert found(task="shop.*") == [first, second]
    assert found(task="shop.add") == [first]
    assert found(task=["*.mail", "nothing"]) == [second]
    assert found(task="shop.[am]*") == [first, second]
    assert found(error="Key*") == [second]
    assert found(error=["KeyError", "ValueError"], task="*.add") == [first]
    assert found(older_than=3600) == []
    assert found(older_than=0) == [first, second]
    assert found(limit=1) == [first]
    assert found(ids=[second, "nobody"]) == [second]
    assert app.quarantine.count() == 2
    assert app.quarantine.count(task="*.mail") == 1


def test_a_retry_begins_anew_and_is_waited_for(app: App) -> None:
    task_id = aside(app, retries=3)
    assert app.AsyncResult(task_id).state == "FAILURE"
    assert app.quarantine.retry(task="shop.*") == 1
    assert app.AsyncResult(task_id).state == "PENDING"
    (sent,) = take(app)
    assert (sent.message.id, sent.message.retries, list(sent.message.args)) == (task_id, 0, [1])
    assert app.quarantine.count() == 0


def test_a_retry_of_a_chain_forgets_the_failures_behind_it(app: App) -> None:
    result = app.send_task(
        "shop.add", (1,), chain=[{"task": "shop.add", "options": {"task_id": "next"}}]
    )
    (sent,) = take(app)
    app.broker.shelves().set_aside(
        [Aside(queue="celery", raw=dump_compact(sent.encoded), verdict=Quarantine("failed"))]
    )
    app.result_backend.store([record(result.id, "FAILURE"), record("next", "FAILURE")])
    assert app.quarantine.retry(result.id) == 1
    assert app.result_backend.fetch([result.id, "next"]) == {}


def test_what_is_discarded_stays_failed(app: App) -> None:
    task_id = aside(app)
    assert app.quarantine.discard(task_id) == 1
    assert app.quarantine.discard(task_id) == 0
    assert app.AsyncResult(task_id).state == "FAILURE"
    assert list(take(app)) == []


def test_more_than_a_page_is_moved(app: App) -> None:
    verdict = Quarantine("failed")
    app.broker.shelves().set_aside(
        [Aside(queue="celery", raw=b"%d" % n, verdict=verdict) for n in range(2 * PAGE + 7)]
    )
    assert app.quarantine.discard(everything=True) == 2 * PAGE + 7
    assert app.quarantine.count() == 0


def test_nothing_is_moved_that_nobody_named(app: App) -> None:
    aside(app)
    for act in (app.quarantine.retry, app.quarantine.discard, app.delayed.cancel):
        with pytest.raises(UsageError, match="say everything=True"):
            act()
    with pytest.raises(UsageError, match="say everything=True"):
        app.delayed.reschedule(countdown=1)
    assert app.quarantine.count() == 1


def test_who_is_not_there_is_said(app: App) -> None:
    with pytest.raises(NotResting, match="No task 'nobody' is in quarantine in celery"):
        app.quarantine.get("nobody")
    with pytest.raises(LookupError, match="No task 'nobody' is resting in celery"):
        app.delayed.get("nobody")


# --- what rests until its time --------------------------------------------------------------------


def test_delayed_tasks_are_told_with_their_kind(app: App) -> None:
    later = app.send_task("shop.add", (1,), eta=SOON + timedelta(hours=1))
    retried = app.send_task("shop.add", (2,), eta=SOON, retries=2)
    told = list(app.delayed.list())
    assert [(one.task_id, one.kind, one.due) for one in told] == [
        (retried.id, "retry", SOON),
        (later.id, "delayed", SOON + timedelta(hours=1)),
    ]
    assert app.delayed.count() == 2
    assert [one.task_id for one in app.delayed.list(due_before=SOON + timedelta(minutes=1))] == [
        retried.id
    ]
    assert [one.task_id for one in app.delayed.list(due_after=SOON + timedelta(minutes=1))] == [
        later.id
    ]
    assert app.delayed.count(due_before=SOON) == 0


def test_a_cancelled_task_is_gone_and_its_result_says_so(app: App) -> None:
    gone = app.send_task("shop.add", (1,), eta=SOON)
    kept = app.send_task("shop.add", (1,), eta=SOON)
    assert app.delayed.cancel(gone.id) == 1
    assert app.delayed.cancel([gone.id]) == 0
    with pytest.raises(TaskRevokedError, match="cancelled"):
        gone.get(timeout=5)
    assert [one.task_id for one in app.delayed.list()] == [kept.id]
    assert kept.state == "PENDING"


def test_a_cancelled_task_whose_result_nobody_keeps_leaves_none(app: App) -> None:
    gone = app.send_task("shop.mail", eta=SOON)
    assert app.delayed.cancel(task="shop.mail") == 1
    assert app.result_backend.fetch([gone.id]) == {}


def test_a_cancelled_member_of_a_chord_goes_to_a_worker_that_counts(app: App) -> None:
    member = app.send_task(
        "shop.add", (1,), eta=SOON, group_id="g", chord=app.signature("shop.add")
    )
    assert app.delayed.cancel(member.id) == 1
    assert app.delayed.count() == 0
    with pytest.raises(TaskRevokedError, match="cancelled"):
        member.get(timeout=5)
    (sent,) = take(app)
    assert (sent.message.id, sent.message.expires) == (member.id, WITHDRAWN)
    assert sent.message.chord is not None
    assert app.delayed.cancel(member.id) == 0


def test_another_time_is_in_the_message_too(app: App) -> None:
    result = app.send_task("shop.add", (1,), eta=SOON)
    moved = SOON + timedelta(hours=3, microseconds=1234)
    assert app.delayed.reschedule(result.id, eta=moved) == 1
    one = app.delayed.get(result.id)
    assert one.due == moved.replace(microsecond=1000)
    assert envelope.peek(one.raw).eta == one.due
    assert app.delayed.reschedule(result.id, countdown=0) == 1
    (sent,) = take(app)
    assert sent.message.id == result.id
    assert abs(sent.message.eta - datetime.now(UTC)) < timedelta(minutes=1)
    assert app.delayed.count() == 0


def test_everything_is_rescheduled_once(app: App) -> None:
    for n in range(PAGE + 20):
        app.send_task("shop.add", (n,), eta=SOON + timedelta(seconds=n))
    later = SOON + timedelta(days=1)
    assert app.delayed.reschedule(eta=later, everything=True) == PAGE + 20
    assert {one.due for one in app.delayed.list()} == {later}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "takes eta= or countdown=, one of them"),
        ({"eta": SOON, "countdown": 1.0}, "takes eta= or countdown=, one of them"),
        ({"eta": datetime(2200, 1, 1)}, "without a zone"),  # noqa: DTZ001 - the point
    ],
)
def test_a_time_must_be_one(app: App, given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        app.delayed.reschedule("any", **given)  # type: ignore[arg-type]


def test_naive_bounds_are_refused(app: App) -> None:
    with pytest.raises(UsageError, match="due_before is 2200"):
        app.delayed.list(due_before=datetime(2200, 1, 1))  # noqa: DTZ001 - the point
    with pytest.raises(UsageError, match="older_than is -1"):
        app.quarantine.list(older_than=-1)


# --- the envelope with other headers --------------------------------------------------------------


def test_headers_change_and_all_else_stays(app: App) -> None:
    app.send_task("shop.add", (1,), priority=3)
    (sent,) = take(app)
    kombu = dump_kombu(
        sent.encoded, exchange="e", routing_key="k", delivery_tag="tag", redelivered=True
    )
    for raw in (kombu, dump_compact(sent.encoded)):
        changed = with_headers(raw, {"retries": 7, "eta": SOON.isoformat()})
        before, after = envelope.load(raw), envelope.load(changed)
        assert after.body == before.body
        assert after.properties == before.properties
        assert after.headers == {**before.headers, "retries": 7, "eta": SOON.isoformat()}
        assert changed[:1] == raw[:1]


def test_a_message_of_protocol_1_is_not_changed() -> None:
    raw = b'{"body": "e30=", "headers": {}, "properties": {"body_encoding": "base64"}}'
    with pytest.raises(UnsupportedProtocol, match="protocol 1"):
        with_headers(raw, {"retries": 0})
