"""``Task.retry`` and ``Task.replace`` as a worker meets them: the message is on the exception."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from umbel.app import running
from umbel.app.app import App
from umbel.app.context import Context
from umbel.errors import (
    Ignore,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    Retry,
    UsageError,
)
from umbel.model.message import TaskMessage
from umbel.model.outcome import Failed, Ignored, Outcome, Retried
from umbel.model.queues import Outgoing
from umbel.workflows.canvas import chain

from .mailbox import take_one, waiting


def bound(app: App, body: Callable[..., Any], **options: Any) -> Any:
    return app.task(name="t", bind=True, **options)(body)


def run(task: Any, queue: str = "high", **fields: Any) -> Outcome:
    message = TaskMessage(
        **{"id": "i", "task": task.name, "root_id": "root", "parent_id": "parent", **fields}
    )
    return running.run_task(task, message, Context.from_message(message, queue=queue))


def retried(outcome: Outcome) -> Outgoing:
    assert isinstance(outcome, Retried), outcome
    assert isinstance(outcome.message, Outgoing)
    return outcome.message


def test_a_retry_is_the_same_run_once_more(app: App) -> None:
    task = bound(app, lambda self, x: self.retry(countdown=60))
    outgoing = retried(
        run(
            task,
            args=(1,),
            retries=1,
            priority=4,
            time_limit=9,
            headers={"x": "v"},
            group_id="g",
            group_index=3,
            chain=[{"task": "next"}],
            callbacks=[{"task": "cb"}],
            origin="gen1@first",
            reply_to="r",
            argsrepr="(hidden)",
            shadow="s",
            stamped_headers=["who"],
            stamps={"who": "me"},
            ignore_result=True,
        )
    )
    message = app.decode(outgoing.message)
    assert outgoing.queue.name == "high"
    assert (message.id, message.retries, list(message.args)) == ("i", 2, [1])
    assert (message.root_id, message.parent_id) == ("root", "parent")
    assert (message.priority, message.time_limit, message.headers) == (4, 9, {"x": "v"})
    assert (message.group_id, message.group_index) == ("g", 3)
    assert [one["task"] for one in message.chain or ()] == ["next"]
    assert [one["task"] for one in message.callbacks or ()] == ["cb"]
    assert (message.origin, message.reply_to) == ("gen1@first", "r")
    assert (message.argsrepr, message.shadow) == ("(hidden)", "s")
    assert message.stamps == {"who": "me"}
    assert message.ignore_result is True
    assert message.eta == outgoing.due_at
    assert outgoing.due_at is not None
    assert 55 < (outgoing.due_at - datetime.now(UTC)).total_seconds() < 61
    assert waiting(app, "high") == (0, 0)  # sending it is the worker's


@pytest.mark.parametrize(("sent", "kept"), [(200, 9), (-1, 0), (5, 5)])
def test_a_priority_that_others_sent_does_not_stop_a_retry(app: App, sent: int, kept: int) -> None:
    outgoing = retried(run(bound(app, lambda self: self.retry()), priority=sent))
    assert app.decode(outgoing.message).priority == kept


def test_the_profile_celery_retries_with_the_number_that_came(celery_app: App) -> None:
    task = bound(celery_app, lambda self: self.retry())
    outgoing = retried(run(task, priority=200))
    assert celery_app.decode(outgoing.message).priority == 200


def test_the_delay_of_a_retry(app: App) -> None:
    def seconds(**options: Any) -> float:
        app.registry.clear()
        task = bound(app, lambda self: self.retry(**options), default_retry_delay=500)
        due = retried(run(task)).due_at
        return 0.0 if due is None else round((due - datetime.now(UTC)).total_seconds())

    assert seconds() == 500
    assert seconds(countdown=7) == 7
    assert seconds(countdown=0) == 0
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert abs(seconds(eta=moment) - (moment - datetime.now(UTC)).total_seconds()) < 5


def test_arguments_and_options_of_a_retry(app: App) -> None:
    task = bound(
        app, lambda self, **_: self.retry((9,), {"k": 1}, queue="low", priority=1, countdown=1)
    )
    outgoing = retried(run(task, kwargs={"a": 1}))
    message = app.decode(outgoing.message)
    assert (list(message.args), message.kwargs, message.priority) == ([9], {"k": 1}, 1)
    assert outgoing.queue.name == "low"


def test_in_the_celery_profile_the_worker_waits(celery_app: App) -> None:
    outgoing = retried(run(bound(celery_app, lambda self: self.retry(countdown=60))))
    assert outgoing.due_at is None
    assert celery_app.decode(outgoing.message).eta is not None


def test_what_the_retry_says(app: App) -> None:
    def body(self: Any) -> None:
        try:
            raise ValueError("cur")
        except ValueError as error:
            raise self.retry(exc=error, countdown=3) from error

    task = bound(app, body)
    outcome = run(task)
    assert isinstance(outcome, Retried)
    assert isinstance(outcome.error, ValueError)
    assert outcome.again_at is not None
    with pytest.raises(Retry) as caught:
        run_inside(task, lambda: task.retry(exc=ValueError("cur"), countdown=3))
    assert str(caught.value) == "Retry in 3s: ValueError('cur')"
    assert (caught.value.when, caught.value.is_eager) == (3, False)


def run_inside(task: Any, call: Callable[[], Any], **fields: Any) -> Any:
    task.push_request(**{"id": "i", "called_directly": False, "queue": "celery", **fields})
    try:
        return call()
    finally:
        task.pop_request()


def test_no_tries_left(app: App) -> None:
    task = bound(app, lambda self: None, max_retries=2)
    with pytest.raises(MaxRetriesExceededError) as caught:
        run_inside(task, task.retry, retries=2, args=(1,), kwargs={"k": 2})
    assert str(caught.value) == "Can't retry t[i] args:(1,) kwargs:{'k': 2}"
    assert (caught.value.task_args, caught.value.task_kwargs) == ((1,), {"k": 2})
    with pytest.raises(KeyError, match="mine"):
        run_inside(task, lambda: task.retry(exc=KeyError("mine")), retries=2)
    with pytest.raises(Retry):
        run_inside(task, lambda: task.retry(max_retries=3), retries=2)
    task.max_retries = None
    with pytest.raises(Retry):
        run_inside(task, task.retry, retries=1000)
    assert task.MaxRetriesExceededError is MaxRetriesExceededError


def test_the_current_error_is_the_cause(app: App) -> None:
    def body(self: Any) -> None:
        try:
            raise ValueError("cur")
        except ValueError:
            self.retry(max_retries=0)

    outcome = run(bound(app, body))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, MaxRetriesExceededError)
    assert isinstance(outcome.error.__cause__, ValueError)


def test_a_plain_call_cannot_be_retried(app: App) -> None:
    def body(self: Any, how: str) -> None:
        try:
            raise ValueError("cur")
        except ValueError as error:
            self.retry(exc=error if how == "same" else KeyError("k") if how == "other" else None)

    task = bound(app, body)
    with pytest.raises(ValueError, match="cur"):
        task("same")
    with pytest.raises(KeyError, match="k"):
        task("other")
    with pytest.raises(Retry, match="Task can be retried"):
        task("none")


def test_retry_without_throwing_sends_at_once(app: App) -> None:
    def body(self: Any) -> str:
        retry = self.retry(throw=False, countdown=0)
        assert retry.outgoing is None
        return "went on"

    run(bound(app, body), queue="celery")
    assert take_one(app).message.retries == 1


def test_automatic_retries(app: App) -> None:
    def body(self: Any) -> None:
        raise OSError("down")

    task = bound(
        app,
        body,
        autoretry_for=(OSError,),
        retry_backoff=10,
        retry_jitter=False,
        retry_kwargs={"max_retries": 4},
    )
    due = retried(run(task, retries=2)).due_at
    assert due is not None
    assert 35 < (due - datetime.now(UTC)).total_seconds() < 41
    assert isinstance(run(task, retries=4), Failed)


def test_made_up_requests_can_be_retried(app: App) -> None:
    task = bound(app, lambda self: None)
    with pytest.raises(Retry) as caught:
        run_inside(task, lambda: task.retry(countdown=0), args=(1,), retries=1)
    message = app.decode(caught.value.outgoing.message)
    assert (message.id, message.retries, list(message.args)) == ("i", 2, [1])


# --- replacing ------------------------------------------------------------------------------------


def replacing(app: App, signature: Callable[[], Any], **fields: Any) -> TaskMessage:
    requests: list[Context] = []

    def body(self: Any, *_: Any) -> None:
        requests.append(self.request)
        raise self.replace(signature())

    outcome = run(bound(app, body), **fields)
    assert isinstance(outcome, Ignored), outcome
    (outgoing,) = requests[0].get("replacements")
    return app.decode(outgoing.message)


def test_a_replacement_takes_over_id_and_callbacks(app: App) -> None:
    message = replacing(
        app,
        lambda: app.signature("real", args=(5,), link=[{"task": "own", "args": []}], priority=2),
        callbacks=[{"task": "cb", "args": []}],
        errbacks=[{"task": "eb", "args": []}],
        group_id="g",
        chain=[{"task": "next"}],
        headers={"x": "v"},
    )
    assert (message.id, message.task, list(message.args)) == ("i", "real", [5])
    assert [one["task"] for one in message.callbacks or ()] == ["own", "cb"]
    assert [one["task"] for one in message.errbacks or ()] == ["eb"]
    assert (message.root_id, message.parent_id, message.group_id) == ("root", "parent", "g")
    assert [one["task"] for one in message.chain or ()] == ["next"]
    assert (message.headers, message.priority) == ({"x": "v"}, 2)
    assert message.replaced_task_nesting == 1


def test_the_replacement_goes_where_its_own_task_goes(app: App) -> None:
    app.task(name="real", queue="own")(lambda: None)
    task = bound(app, lambda self: None)
    with pytest.raises(Ignore) as caught:
        run_inside(task, lambda: task.replace(app.tasks["real"].s()))
    assert caught.value.outgoing.queue.name == "own"
    assert str(caught.value) == "replaced by real"


def test_on_replace_may_change_it(app: App) -> None:
    def on_replace(self: Any, sig: Any) -> Any:
        return sig.clone(args=(7,))

    task = bound(app, lambda self: None, on_replace=on_replace)
    with pytest.raises(Ignore) as caught:
        run_inside(task, lambda: task.replace(app.signature("real")))
    assert list(app.decode(caught.value.outgoing.message).args) == [7]


def test_what_cannot_take_a_tasks_place(app: App) -> None:
    task = bound(app, lambda self: None)
    with pytest.raises(UsageError, match=r"t cannot be replaced by chain\(\): nothing is in it"):
        run_inside(task, lambda: task.replace(chain()))
    with pytest.raises(ImproperlyConfigured, match="names no task"):
        run_inside(task, lambda: task.replace({}))


def test_the_struct_of_a_request_is_frozen() -> None:
    from umbel.app.repeating import RetryRequest

    request = RetryRequest(
        args=None, kwargs=None, exc=None, eta=None, countdown=1, max_retries=None, options={}
    )
    assert msgspec.structs.asdict(request)["countdown"] == 1
