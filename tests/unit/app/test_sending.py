from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from umbel.app import context, signals
from umbel.app.app import App
from umbel.app.context import Context
from umbel.app.handles import AsyncResult
from umbel.app.publish_policy import NO_RETRY, RetryPolicy
from umbel.app.send_plan import new_id
from umbel.errors import (
    AlwaysEagerIgnored,
    EncodeError,
    ImproperlyConfigured,
    InvalidOption,
    TaskSignatureMismatch,
    UnknownOption,
    UnknownOptionWarning,
    UsageError,
)
from umbel.model.message import TaskMessage
from umbel.ports import Middleware
from umbel.workflows.canvas import chain, group

from .conftest import new_app
from .mailbox import take, take_one, waiting


@pytest.fixture
def add(app: App) -> Any:
    @app.task(name="proj.add")
    def add(x: Any, y: Any = 0) -> Any:
        return x + y

    return add


def near(moment: datetime | None, seconds: float) -> bool:
    assert moment is not None
    return abs((moment - datetime.now(UTC)).total_seconds() - seconds) < 5


# --- a plain call ---------------------------------------------------------------------------------


def test_a_plain_call_is_a_message_of_protocol_2(app: App, add: Any) -> None:
    result = add.delay(1, y=2)
    sent = take_one(app)
    assert isinstance(result, AsyncResult)
    assert UUID(result.id).version == 4
    assert json.loads(sent.encoded.body)[:2] == [[1], {"y": 2}]
    headers = sent.headers
    assert headers["task"] == "proj.add"
    assert headers["id"] == headers["root_id"] == sent.properties["correlation_id"] == result.id
    assert headers["parent_id"] is None
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("(1,)", "{'y': 2}")
    assert headers["retries"] == 0
    assert headers["timelimit"] == [None, None]
    assert headers["ignore_result"] is False
    assert re.fullmatch(rf"gen{os.getpid()}@.+", headers["origin"])
    assert sent.properties["priority"] == 0
    assert sent.properties["delivery_mode"] == 2
    assert UUID(sent.properties["reply_to"])
    assert (result.task_name, result.ignored) == ("proj.add", False)


def test_ids_are_random_uuids_of_version_4() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(UUID(one).version == 4 and str(UUID(one)) == one for one in ids)


def test_apply_async_takes_lists_tuples_and_mappings_only(add: Any) -> None:
    with pytest.raises(TaskSignatureMismatch, match=r"args must be a list or a tuple.*\(value,\)"):
        add.apply_async("ab")
    with pytest.raises(TypeError, match="kwargs must be a mapping, and is 3"):
        add.apply_async(kwargs=3)
    add.apply_async([1, 2], {})


def test_wrong_arguments_are_told_at_the_call(app: App, add: Any) -> None:
    with pytest.raises(TypeError, match=r"proj.add was not sent: missing a required argument: 'x'"):
        add.delay()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        add.delay(1, z=2)
    assert waiting(app) == (0, 0)
    unchecked = app.task(name="t", typing=False)(lambda x: x)
    unchecked.delay()
    loose = new_app(strict_typing=False)
    loose.task(name="t")(lambda x: x).delay()


def test_types_are_checked_in_the_umbel_profile_only(app: App, celery_app: App) -> None:
    def function(x: int) -> None: ...

    with pytest.raises(TypeError, match="'x' is to be int"):
        app.task(function).delay("1")  # type: ignore[arg-type]  # the error under test
    celery_app.task(function).delay("1")  # type: ignore[arg-type]  # Celery lets it pass
    app.task(name="loose", typing_of_values=False)(function).delay("1")  # type: ignore[arg-type]


def test_values_that_cannot_be_encoded(add: Any) -> None:
    with pytest.raises(EncodeError, match=r"proj.add cannot be sent: its positional argument 1"):
        add.delay(1, {1, 2})


# --- options --------------------------------------------------------------------------------------


def test_every_option_of_the_message(app: App, add: Any) -> None:
    cb = {"task": "cb", "args": (), "kwargs": {}, "options": {}}
    add.apply_async(
        (1,),
        task_id="own-id",
        priority=3,
        time_limit=30,
        soft_time_limit=20,
        ignore_result=True,
        headers={"x": "v"},
        shadow="shown",
        argsrepr="(secret)",
        kwargsrepr="{}",
        link=cb,
        link_error=[cb, cb],
        root_id="r",
        parent_id="p",
        group_id="g",
        group_index=2,
        retries=1,
        reply_to="here",
        correlation_id="c",
        stamped_headers=["who"],
        who="me",
        delivery_mode="transient",
        expiration=5,
        add_to_parent=False,
    )
    sent = take_one(app)
    message = sent.message
    assert message.id == "own-id"
    assert message.priority == 3
    assert (message.time_limit, message.soft_time_limit) == (30, 20)
    assert message.ignore_result is True
    assert message.headers == {"x": "v"}
    assert sent.headers["x"] == "v"
    assert message.shadow == "shown"
    assert message.argsrepr == "(secret)"
    assert [one["task"] for one in message.callbacks or ()] == ["cb"]
    assert len(message.errbacks or ()) == 2
    assert (message.root_id, message.parent_id) == ("r", "p")
    assert (message.group_id, message.group_index, message.retries) == ("g", 2, 1)
    assert (message.stamped_headers, message.stamps) == (["who"], {"who": "me"})
    assert sent.properties["reply_to"] == "here"
    assert sent.properties["correlation_id"] == "c"
    assert sent.properties["delivery_mode"] == 1
    assert sent.properties["expiration"] == 5
    assert b"secret" not in sent.encoded.body


def test_task_attributes_are_defaults_and_the_call_wins(app: App) -> None:
    task = app.task(
        name="t",
        queue="own",
        priority=4,
        time_limit=9,
        soft_time_limit=8,
        ignore_result=True,
        serializer="pickle",
        compression="gzip",
        expires=60,
    )(lambda: None)
    app.conf.accept_content = ["json", "pickle"]
    result = task.delay()
    sent = take_one(app, "own")
    assert sent.message.priority == 4
    assert (sent.message.time_limit, sent.message.soft_time_limit) == (9, 8)
    assert sent.encoded.content_type == "application/x-python-serialize"
    assert sent.headers["compression"] == "application/x-gzip"
    assert near(sent.message.expires, 60)
    assert result.ignored
    assert result.get() is None
    task.apply_async(
        queue="other", priority=1, serializer="json", ignore_result=False, time_limit=99
    )
    other = take_one(app, "other")
    assert other.encoded.content_type == "application/json"
    assert (other.message.priority, other.message.time_limit) == (1, 99)
    assert other.message.ignore_result is False


def test_class_attributes_count_as_the_tasks_own(app: App) -> None:
    class Base(app.Task):  # type: ignore[name-defined,misc]  # a class made by the app
        queue = "from_class"
        ignore_result = True

    result = app.task(name="t", base=Base)(lambda: None).delay()
    assert result.ignored
    take_one(app, "from_class")


def test_a_route_wins_over_settings_and_loses_against_the_task() -> None:
    routes = {"*": {"serializer": "pickle", "priority": 2}}
    with new_app(task_routes=routes, accept_content=["json", "pickle"]) as app:
        app.task(name="a")(lambda: None).delay()
        app.task(name="b", serializer="json", priority=5)(lambda: None).delay()
        first, second = take(app)
    assert {first.message.task: first.message.priority} == {"a": 2}
    assert first.encoded.content_type == "application/x-python-serialize"
    assert second.encoded.content_type == "application/json"
    assert second.message.priority == 5


def test_unknown_options_are_errors_with_a_hint(add: Any) -> None:
    with pytest.raises(UnknownOption, match=r"'cuontdown' is not an option.*'countdown'\?") as one:
        add.apply_async((1,), cuontdown=5)
    assert isinstance(one.value, TypeError)
    with pytest.raises(UnknownOption, match=r"'y' is not an option of a call\. Arguments of the"):
        add.apply_async((1,), y=5)


def test_in_the_celery_profile_unknown_options_become_properties(celery_app: App) -> None:
    task = celery_app.task(name="t")(lambda: None)
    with pytest.warns(UnknownOptionWarning, match=r"'cuontdown'.*Did you mean 'countdown'\?"):
        task.apply_async(cuontdown=5)
    assert take_one(celery_app).properties["cuontdown"] == 5
    task.apply_async(my_very_own_thing=1)
    assert take_one(celery_app).properties["my_very_own_thing"] == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"countdown": "5"}, "countdown takes a number of seconds, and got '5'"),
        ({"countdown": -2147483649}, "countdown=-2147483649 is out of range"),
        ({"expires": -2147483649}, "expires=-2147483649 is out of range"),
        ({"eta": "soon"}, "eta='soon' is not a time"),
        ({"eta": 5}, "eta takes a datetime or ISO-8601 text, and got 5"),
        ({"expires": "later"}, "expires='later' is not a time"),
        ({"priority": "high"}, "priority takes an integer from 0 to 9"),
        ({"priority": -1}, "priority takes an integer"),
        ({"time_limit": "30"}, "time_limit takes a number of seconds"),
        ({"time_limit": 1, "soft_time_limit": 2}, r"soft_time_limit \(2\) must not be greater"),
        ({"headers": 5}, "headers takes a mapping"),
        ({"headers": {1: 2}}, "names must be text, and 1 is not"),
        ({"link": "cb"}, "link takes a signature"),
        ({"link_error": [3]}, "link_error takes a signature, or a list of them, and got 3"),
        ({"retry_policy": {"max_retrys": 1}}, "retry_policy takes a mapping with any of interval"),
        ({"delivery_mode": 3}, "delivery_mode is 1"),
    ],
)
def test_options_with_wrong_values(app: App, add: Any, options: Any, text: str) -> None:
    with pytest.raises(InvalidOption, match=text) as caught:
        add.apply_async((1,), **options)
    assert isinstance(caught.value, ValueError)
    assert waiting(app) == (0, 0)


def test_unknown_serializer_and_compression(add: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="jsn"):
        add.apply_async((1,), serializer="jsn")
    with pytest.raises(ImproperlyConfigured, match="gzp"):
        add.apply_async((1,), compression="gzp")


def test_soft_limit_above_the_hard_one_on_the_task(app: App) -> None:
    task = app.task(name="t", time_limit=1, soft_time_limit=2)(lambda: None)
    with pytest.raises(ValueError, match="soft_time_limit"):
        task.delay()


def test_a_tasks_signature_is_a_callback(app: App, add: Any) -> None:
    add.apply_async((1,), link=add.s(10), link_error=[add.si(1, 2)])
    message = take_one(app).message
    (callback,) = message.callbacks or ()
    assert callback["task"] == "proj.add"
    assert list(callback["args"]) == [10]
    assert (message.errbacks or [{}])[0]["immutable"] is True


def test_publishing_policy_of_a_call(app: App, add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def publish(outgoing: Any, *, timeout: Any = None, policy: Any = None) -> None:
        given.append((timeout, policy))

    monkeypatch.setattr(app.publishing, "publish", publish)
    add.apply_async((1,), priority=1)
    add.apply_async((1,), retry=False)
    add.apply_async((1,), retry_policy={"max_retries": 9}, timeout=2.5)
    add.apply_async((1,), retry=True)
    assert given[0] == (None, None)
    assert given[1][1].max_retries == 0
    assert given[2][0] == 2.5
    assert given[2][1] == RetryPolicy(max_retries=9)
    assert given[3][1] == RetryPolicy()


def test_publishing_policy_of_the_calls_of_a_workflow(
    app: App, add: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def publish(outgoing: Any, *, timeout: Any = None, policy: Any = None) -> None:
        given.append((len(outgoing), timeout, policy))

    monkeypatch.setattr(app.publishing, "publish", publish)
    chain(add.s(1, 1).set(retry=False), add.s(1)).delay()
    group(add.s(1, 1), add.s(2, 2).set(timeout=2.5, retry=False)).delay()
    group(add.s(1, 1), add.s(2, 2)).delay()
    assert given == [(1, None, NO_RETRY), (2, 2.5, NO_RETRY), (2, None, None)]


# --- times ----------------------------------------------------------------------------------------


def test_countdown_becomes_an_eta_and_rests_in_the_store(app: App, add: Any) -> None:
    add.apply_async((1,), countdown=60)
    assert waiting(app) == (0, 1)


def test_celery_profile_sends_the_eta_and_lets_workers_wait(celery_app: App) -> None:
    celery_app.task(name="t")(lambda: None).apply_async(countdown=60)
    assert near(take_one(celery_app).message.eta, 60)


def test_eta_rules(celery_app: App) -> None:
    task = celery_app.task(name="t")(lambda: None)

    def eta(**options: Any) -> datetime | None:
        task.apply_async(**options)
        return take_one(celery_app).message.eta

    naive = datetime(2030, 1, 2, 3, 4, 5)  # noqa: DTZ001 - naive is the point
    assert eta(eta=naive) == naive.replace(tzinfo=UTC)
    aware = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert eta(eta=aware) == aware
    assert eta(eta="2030-01-02T03:04:05Z") == naive.replace(tzinfo=UTC)
    assert near(eta(eta=aware, countdown=60), 60)  # countdown wins
    assert eta(countdown=0) is None
    assert near(eta(countdown=-30), -30)
    assert near(eta(countdown=timedelta(minutes=1)), 60)
    assert eta() is None


def test_times_travel_in_the_apps_zone() -> None:
    with new_app(timezone="Europe/Berlin", task_delay_in_store=False) as app:
        app.task(name="t")(lambda: None).apply_async(eta="2030-07-01T12:00:00")
        assert take_one(app).headers["eta"] == "2030-07-01T14:00:00+02:00"
        assert app.timezone == ZoneInfo("Europe/Berlin")
        assert app.now().utcoffset() is not None
        assert not app.uses_utc_timezone()
    with new_app(enable_utc=False) as app:
        assert app.now().tzinfo is not None


def test_expires(app: App, add: Any) -> None:
    add.apply_async((1,), expires=120)
    sent = take_one(app)
    assert near(sent.message.expires, 120)
    assert sent.properties["expiration"] == "120000"
    add.apply_async((1,), expires=datetime(2030, 1, 1))  # noqa: DTZ001 - naive is UTC
    assert take_one(app).message.expires == datetime(2030, 1, 1, tzinfo=UTC)
    with pytest.warns(UserWarning, match="which is past: no worker will run it"):
        add.apply_async((1,), expires=-5)
    assert take_one(app).properties["expiration"] == "0"


# --- lineage --------------------------------------------------------------------------------------


class Run:
    """A run of a task, as a worker makes it."""

    def __init__(self, task: Any, **fields: Any) -> None:
        message = TaskMessage(**{"id": "me", "task": task.name, "root_id": "root", **fields})
        self.request = Context.from_message(message, queue="celery")
        self.task = task

    def __enter__(self) -> Context:
        context.push(self.task, self.request)
        return self.request

    def __exit__(self, *_: object) -> None:
        context.pop()


def test_messages_sent_inside_a_task_know_their_parent(app: App, add: Any) -> None:
    with Run(add) as request:
        child = add.delay(1)
        other = add.apply_async((2,), priority=1)
        hidden = add.apply_async((2,), add_to_parent=False)
    assert request.children == [child, other]
    assert hidden not in request.children
    for sent in take(app):
        assert (sent.message.root_id, sent.message.parent_id) == ("root", "me")


def test_no_trail_and_no_parent_in_eager_runs(app: App, add: Any) -> None:
    add.trail = False
    with Run(add) as request:
        add.delay(1)
    assert request.children == []
    with Run(add) as request:
        request.update(is_eager=True)
        add.delay(1)
    first, second = sorted(take(app), key=lambda one: one.message.parent_id is None)
    assert first.message.parent_id == "me"
    assert second.message.parent_id is None


@pytest.mark.parametrize("value", [-1, 10, 255])
def test_a_priority_beyond_the_scale_is_an_error_that_says_the_scale(value: int) -> None:
    with new_app() as app:
        task = app.task(lambda: None, name="t")
        with pytest.raises(UsageError, match=r"from 0 to 9, 0 the most urgent, and got"):
            task.apply_async(priority=value)


@pytest.mark.parametrize(
    ("value", "taken"), [(-1, 0), (0, 0), (9, 9), (10, 10), (255, 255), (256, 255)]
)
def test_the_profile_celery_takes_every_number_of_celerys(value: int, taken: int) -> None:
    with new_app(profile="celery") as app:
        task = app.task(lambda: None, name="t", shared=False)
        task.apply_async(priority=value)
        app.task(lambda: None, name="u", priority=value, shared=False).delay()
        assert [one.message.priority for one in take(app)] == [taken, taken]


def test_priority_is_inherited_where_that_is_wanted() -> None:
    with new_app(task_inherit_parent_priority=True) as app:
        task = app.task(name="t")(lambda: None)
        with Run(task, priority=6):
            task.delay()
            task.apply_async(priority=1)
        assert sorted(one.message.priority or 0 for one in take(app)) == [1, 6]


# --- names without tasks --------------------------------------------------------------------------


def test_send_task_by_name(app: App, add: Any) -> None:
    result = app.send_task("far.away", (1,), {"k": 2}, queue="q", task_id="i")
    sent = take_one(app, "q")
    assert (result.id, sent.message.task, list(sent.message.args)) == ("i", "far.away", [1])
    app.send_task("far.away")
    take_one(app)
    add.queue = "own"
    app.send_task("proj.add", ())  # arguments are not checked, its options are the defaults
    take_one(app, "own")
    with pytest.raises(TypeError, match="args must be a list or a tuple"):
        app.send_task("x", "ab")


def test_send_task_ignores_always_eager_and_says_so() -> None:
    with new_app(task_always_eager=True) as app:
        with pytest.warns(AlwaysEagerIgnored, match="far.away is sent all the same"):
            app.send_task("far.away")
        take_one(app)


def test_many_names_do_not_fill_the_memory(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.app.app._MOST_NAMES", 3)
    for number in range(10):
        app.send_task(f"name{number}")
    assert len(app._names) <= 3
    assert len(take(app)) == 10


# --- from coroutines ------------------------------------------------------------------------------


def test_sending_from_a_coroutine(app: App, add: Any) -> None:
    async def main() -> list[Any]:
        first = await add.adelay(1, 2)
        second = await add.aapply_async((3,), priority=2)
        third = await app.asend_task("far.away")
        return [first.id, second.id, third.id]

    ids = asyncio.run(main())
    assert sorted(one.message.id for one in take(app)) == sorted(ids)


# --- signals --------------------------------------------------------------------------------------


def test_signals_of_publishing(app: App, add: Any) -> None:
    heard: list[tuple[str, Any]] = []

    @signals.before_task_publish.connect(sender="proj.add")
    def before(sender: Any, headers: Any, properties: Any, body: Any, **more: Any) -> None:
        heard.append(("before", (sender, more["routing_key"], more["exchange"])))
        headers["traceparent"] = "00-1"
        properties["priority"] = 7
        body[1]["y"] = 41
        assert more["retry_policy"]["max_retries"] == 3
        assert [queue.name for queue in more["declare"]] == ["celery"]

    @signals.after_task_publish.connect
    def after(sender: Any, headers: Any, body: Any, **more: Any) -> None:
        heard.append(("after", (sender, headers["id"])))

    @signals.task_sent.connect
    def old(sender: Any, task_id: Any, **_: Any) -> None:
        heard.append(("sent", task_id))

    try:
        result = add.delay(1)
    finally:
        signals.before_task_publish.disconnect(before, sender="proj.add")
        signals.after_task_publish.disconnect(after)
        signals.task_sent.disconnect(old)
    sent = take_one(app)
    assert sent.headers["traceparent"] == "00-1"
    assert sent.properties["priority"] == 7
    assert sent.message.kwargs == {"y": 41}
    assert heard == [
        ("before", ("proj.add", "celery", "")),
        ("after", ("proj.add", result.id)),
        ("sent", result.id),
    ]


# --- middleware -----------------------------------------------------------------------------------


class Noting(Middleware):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def around_send(self, message: TaskMessage, send: Callable[[TaskMessage], None]) -> None:
        self.notes.append(f"{self.name} in")
        send(message)
        self.notes.append(f"{self.name} out")


class Stamping(Middleware):
    def around_send(self, message: TaskMessage, send: Callable[[TaskMessage], None]) -> None:
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        send(TaskMessage(**{**fields, "headers": {"stamp": "1"}}))


class Refusing(Middleware):
    def around_send(self, message: TaskMessage, send: Callable[[TaskMessage], None]) -> None:
        raise PermissionError(f"not {message.task}")


def test_middleware_wraps_every_send_in_order(app: App, add: Any) -> None:
    notes: list[str] = []
    app.middleware += [Noting("a", notes), Stamping(), Noting("b", notes)]
    add.delay(1)
    asyncio.run(add.adelay(2))
    assert notes == ["a in", "b in", "b out", "a out"] * 2
    assert [one.headers["stamp"] for one in take(app)] == ["1", "1"]


def test_a_middleware_that_fails_fails_the_send(app: App, add: Any) -> None:
    app.middleware.append(Refusing())
    with pytest.raises(PermissionError, match=r"not proj\.add"):
        add.delay(1)
    assert waiting(app) == (0, 0)


# --- what is worked out once ----------------------------------------------------------------------


def test_changes_of_settings_and_attributes_are_seen(app: App, add: Any) -> None:
    add.delay(1)
    plan = add.plan
    assert add.plan is plan
    app.conf.task_default_queue = "moved"
    add.delay(1)
    add.queue = "own"
    add.delay(1)
    assert [len(take(app, queue)) for queue in ("celery", "moved", "own")] == [1, 1, 1]
    app.conf.task_repr_maxlevels = 1
    add.delay([[1]])
    assert take_one(app, "own").headers["argsrepr"] == "([...],)"


def test_shadow_names(app: App) -> None:
    def shadow_name(task: Any, args: Any, kwargs: Any, options: Any) -> str:
        return f"{task.name}({args[0]})"

    task = app.task(name="t", shadow_name=shadow_name)(lambda x: x)
    task.delay(5)
    assert take_one(app).message.shadow == "t(5)"
    task.apply_async((5,), shadow="given")
    assert take_one(app).message.shadow == "given"


def test_outgoing_routes_and_encodes_a_finished_message(app: App, add: Any) -> None:
    add.queue = "own"
    message = TaskMessage(id="i", task="proj.add", args=(1,))
    outgoing = app.outgoing(message)
    assert (outgoing.queue.name, outgoing.message.headers["id"]) == ("own", "i")
    later = datetime.now(UTC) + timedelta(hours=1)
    other = app.outgoing(TaskMessage(id="i", task="far", eta=later), {"queue": "q"})
    assert (other.queue.name, other.due_at) == ("q", later)
    assert app.decode(app.encode(message)).args == [1]
