"""Calling: entry points, every option of a call, routing, and how publishing behaves."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.app.conftest import new_app
from tests.unit.app.mailbox import take, take_one, waiting
from umbel.app import signals
from umbel.app.app import App
from umbel.app.celery_app import Celery
from umbel.app.handles import AsyncResult
from umbel.errors import (
    AlwaysEagerIgnored,
    BrokerUnavailable,
    EncodeError,
    InvalidOption,
    OperationalError,
    QueueNotFound,
    TaskSignatureMismatch,
    UnknownOption,
    UnknownOptionWarning,
)
from umbel.model.queues import Queue

PATIENCE = 20
NAIVE = datetime(2020, 1, 1, 12, 0)  # noqa: DTZ001 - users give such ones
LATE = datetime(2090, 1, 1)  # noqa: DTZ001 - as above


def plain(x: Any = None, **more: Any) -> Any:
    return x


@pytest.fixture
def task(app: App) -> Any:
    return app.task(name="t")(plain)


# --- entry points ---------------------------------------------------------------------------------


def test_delay_takes_only_arguments_of_the_task(app: App, task: Any) -> None:
    task.delay(1, countdown=5)
    message = take_one(app).message
    assert (message.args, message.kwargs, message.eta) == ([1], {"countdown": 5}, None)


def test_apply_async_returns_a_handle_at_once(app: App, task: Any) -> None:
    result = task.apply_async((1,), {"y": 2})
    assert isinstance(result, AsyncResult)
    assert take_one(app).message.id == result.id


def test_apply_runs_here_retries_included(app: App) -> None:
    @app.task(bind=True)
    def again(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry()
        return int(self.request.retries)

    result = again.apply()
    assert (result.get(), result.state, waiting(app)) == (2, "SUCCESS", (0, 0))


def test_apply_throw(app: App) -> None:
    task = app.task(name="t")(lambda: 1 / 0)
    assert task.apply().state == "FAILURE"
    with pytest.raises(ZeroDivisionError):
        task.apply(throw=True)


def test_apply_sends_its_callbacks(app: App, task: Any) -> None:
    task.apply((1,), link=task.s())
    assert take_one(app).message.args == [1]


def test_call_is_a_plain_call(app: App, task: Any) -> None:
    assert (task(1), waiting(app)) == (1, (0, 0))


def test_send_task_uses_the_options_of_a_task_known_here(app: App) -> None:
    app.task(name="t", queue="own", expires=60)(plain)
    app.send_task("t", ("not", "checked", "at", "all"))
    assert take_one(app, "own").message.expires is not None


def test_send_task_ignores_always_eager_with_a_warning() -> None:
    with new_app(task_always_eager=True) as app:
        with pytest.warns(AlwaysEagerIgnored, match="t is sent all the same"):
            app.send_task("t")
        assert waiting(app) == (1, 0)


def test_adelay_aapply_async_asend_task_asend_many(app: App, task: Any) -> None:
    async def send() -> None:
        await task.adelay(1)
        await task.aapply_async((2,), queue="celery")
        await app.asend_task("t", (3,))
        assert len(await task.asend_many([(4,), (5,)])) == 2
        assert len(await app.asend_many([task.s(6)])) == 1
        await task.s(7).adelay()
        await task.s(8).aapply_async()

    asyncio.run(send())
    assert sorted(one.message.args[0] for one in take(app)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_send_many_and_send_stream(app: App, task: Any) -> None:
    assert len(task.send_many(((n,) for n in range(5)), queue="celery")) == 5
    assert len(list(task.send_stream(((n,) for n in range(5)), chunk_size=2))) == 5
    assert len(app.send_many([task.s(1), task.s(2)])) == 2
    assert waiting(app) == (12, 0)


# --- options of a call ----------------------------------------------------------------------------


@pytest.mark.parametrize("send", ["apply_async", "send_task"])
def test_args_and_kwargs_have_their_types(app: App, task: Any, send: str) -> None:
    call = task.apply_async if send == "apply_async" else lambda *a: app.send_task("t", *a)
    with pytest.raises(TypeError, match=r"Task t: args must be a list or a tuple.*args=\(value,\)"):
        call("text")
    with pytest.raises(TaskSignatureMismatch, match="Task t: kwargs must be a mapping"):
        call((), [1])


def test_countdown(app: App, task: Any) -> None:
    before = datetime.now(UTC)
    task.apply_async(countdown=100)
    task.apply_async(countdown=0)
    task.apply_async(countdown=-5)
    assert waiting(app) == (2, 1)
    app.conf.task_delay_in_store = False
    task.apply_async(countdown=100)
    late = [one.message.eta for one in take(app) if one.message.eta]
    assert sum(timedelta(seconds=90) < eta - before for eta in late) == 1


@pytest.mark.parametrize("eta", [NAIVE, "2020-01-01T12:00:00", "2020-01-01T14:00:00+02:00"])
def test_eta_naive_is_utc_and_text_is_read(app: App, task: Any, eta: Any) -> None:
    task.apply_async(eta=eta)
    assert take_one(app).message.eta == datetime(2020, 1, 1, 12, tzinfo=UTC)


def test_countdown_wins_over_eta(app: App, task: Any) -> None:
    task.apply_async(countdown=-1, eta=LATE)
    assert take_one(app).message.eta < datetime.now(UTC)  # type: ignore[operator]  # it is there


def test_expires_in_seconds_or_at_a_time(app: App, task: Any) -> None:
    before = datetime.now(UTC)
    task.apply_async(expires=60, countdown=-1)
    task.apply_async(expires=LATE)
    soon, late = (one.message.expires for one in take(app))
    assert soon is not None
    assert timedelta(seconds=59) < soon - before < timedelta(seconds=70)
    assert late == datetime(2090, 1, 1, tzinfo=UTC)
    with pytest.warns(UserWarning, match="which is past: no worker will run it"):
        task.apply_async(expires=-1)


def test_task_id(app: App, task: Any) -> None:
    assert UUID(task.delay().id).version == 4
    assert task.apply_async(task_id="mine").id == "mine"


def test_queue_by_name_and_as_a_value(app: App, task: Any) -> None:
    task.apply_async(queue="a")
    task.apply_async(queue=Queue("b"))
    assert [one.queue for one in take(app, "a", "b")] == ["a", "b"]


def test_queue_that_is_not_configured() -> None:
    with new_app(task_create_missing_queues=False, task_queues=[Queue("mail")]) as app:
        task = app.task(name="t")(plain)
        with pytest.raises(QueueNotFound, match="There is no queue 'mial': did you mean 'mail'"):
            task.apply_async(queue="mial")
        with pytest.raises(KeyError):
            task.delay()
        task.apply_async(queue="mail")
        assert take_one(app, "mail").queue == "mail"


def test_exchange_routing_key_exchange_type(app: App, task: Any) -> None:
    task.apply_async(exchange="e", routing_key="k", exchange_type="direct")
    assert take_one(app, "k").queue == "k"


def test_priority(app: App, task: Any) -> None:
    for priority in (9, 0, 5):
        task.apply_async((priority,), priority=priority)
    assert [one.message.args[0] for one in take(app)] == [0, 5, 9]
    with pytest.raises(InvalidOption, match="priority takes an integer from 0 to 9"):
        task.apply_async(priority=-1)


def test_serializer_and_compression_option_over_attribute_over_setting(app: App) -> None:
    app.conf.update(task_serializer="yaml", accept_content=["json", "yaml", "msgpack"])
    app.task(name="setting")(plain).delay()
    app.task(name="attribute", serializer="msgpack")(plain).delay()
    own = app.task(name="own", serializer="msgpack")(plain)
    own.apply_async(serializer="json", compression="bzip2")
    kinds = [one.encoded.content_type for one in take(app)]
    assert kinds == ["application/x-yaml", "application/x-msgpack", "application/json"]
    with pytest.raises(Exception, match=r"jsno.*json"):
        own.apply_async(serializer="jsno")


def test_link_and_link_error(app: App, task: Any) -> None:
    told: list[Any] = []

    @app.task(name="note")
    def note(what: Any) -> None:
        told.append(what)

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("no")

    with OneWorker(app, "celery"):
        task.apply_async((5,), link=[note.s(), note.si("immutable")]).get(timeout=PATIENCE)
        failed = fail.apply_async(link_error=note.s())
        failed.get(timeout=PATIENCE, propagate=False)
        note.delay("last").get(timeout=PATIENCE)
    assert told == [5, "immutable", failed.id, "last"]
    with pytest.raises(InvalidOption, match=r"link takes a signature, .* Write task.s\(...\)"):
        task.apply_async(link=note)


def test_retry_and_retry_policy() -> None:
    with new_app(broker="redis://127.0.0.1:1/0", broker_publish_timeout=5) as app:
        task = app.task(name="t")(plain)
        for options in (
            {"retry": False},
            {"retry_policy": {"max_retries": 1, "interval_start": 0}},
        ):
            with pytest.raises(BrokerUnavailable):
                task.apply_async(**options)
        with pytest.raises(InvalidOption, match="retry_policy takes a mapping with any of"):
            task.apply_async(retry_policy={"max": 1})


def test_ignore_result_of_one_call(app: App, task: Any) -> None:
    result = task.apply_async(ignore_result=True)
    assert (result.ignored, result.get()) == (True, None)
    assert take_one(app).headers["ignore_result"] is True


def test_time_limits_of_one_call(app: App, task: Any) -> None:
    task.apply_async(time_limit=9, soft_time_limit=5)
    assert take_one(app).headers["timelimit"] == [9, 5]


def test_headers(app: App, task: Any) -> None:
    task.apply_async(headers={"tenant": "acme"})
    assert take_one(app).message.headers == {"tenant": "acme"}
    with pytest.raises(InvalidOption, match="headers takes a mapping"):
        task.apply_async(headers=[1])


def test_shadow_argsrepr_kwargsrepr(app: App, task: Any) -> None:
    task.apply_async(("secret",), shadow="s", argsrepr="<hidden>", kwargsrepr="<hidden too>")
    sent = take_one(app)
    headers = sent.headers
    assert (headers["shadow"], headers["argsrepr"]) == ("s", "<hidden>")
    assert headers["kwargsrepr"] == "<hidden too>"
    assert sent.message.args == ["secret"]


def test_producer_connection_publisher_declare_are_taken_and_unused(app: App, task: Any) -> None:
    task.apply_async(producer=object(), connection=object(), publisher=object(), declare=[])
    assert waiting(app) == (1, 0)


def test_add_to_parent(app: App, task: Any) -> None:
    @app.task(name="parent", bind=True)
    def parent(self: Any) -> int:
        task.apply_async(add_to_parent=False)
        task.apply_async()
        return len(self.request.children)

    with OneWorker(app, "celery"):
        assert parent.delay().get(timeout=PATIENCE) == 1


def test_delivery_mode(app: App, task: Any) -> None:
    task.apply_async(delivery_mode="transient")
    task.apply_async(delivery_mode=2)
    assert [one.properties["delivery_mode"] for one in take(app)] == [1, 2]
    with pytest.raises(InvalidOption, match="delivery_mode is 1"):
        task.apply_async(delivery_mode=3)


def test_properties_and_timeouts_of_publishing(app: App, task: Any) -> None:
    task.apply_async(
        mandatory=True, expiration=60, reply_to="r", correlation_id="c", timeout=5, immediate=False
    )
    sent = take_one(app)
    assert (sent.properties["reply_to"], sent.properties["correlation_id"]) == ("r", "c")
    assert sent.properties["expiration"] == 60


def test_options_of_workflows(app: App, task: Any) -> None:
    task.apply_async(root_id="r", parent_id="p", group_id="g", group_index=1, retries=2)
    task.apply_async(chain=[dict(task.s(1))], chord=dict(task.s(2)), replaced_task_nesting=1)
    first, second = (one.message for one in take(app))
    assert (first.root_id, first.parent_id, first.group_id) == ("r", "p", "g")
    assert (first.group_index, first.retries) == (1, 2)
    assert (len(second.chain or ()), second.replaced_task_nesting) == (1, 1)


def test_route_name_router_result_cls_task_type(app: App, task: Any) -> None:
    class Own(AsyncResult[Any]):
        pass

    app.conf.task_routes = {"other": "o"}
    result = task.apply_async(route_name="other", result_cls=Own, task_type=task)
    assert type(result) is Own
    assert take_one(app, "o").message.task == "t"


def test_stamps_of_a_single_call(app: App, task: Any) -> None:
    task.apply_async(stamped_headers=["tenant"], tenant="acme")
    headers = take_one(app).headers
    assert (headers["stamped_headers"], headers["stamps"]) == (["tenant"], {"tenant": "acme"})


def test_an_unknown_option_is_refused_and_in_celerys_profile_passed_on(task: Any) -> None:
    with pytest.raises(UnknownOption, match=r"'cuontdown' is not .* Did you mean 'countdown'\?"):
        task.apply_async(cuontdown=5)
    with pytest.raises(TypeError):
        task.apply_async(cuontdown=5)
    with new_app(cls=Celery) as app:
        other = app.task(name="t")(plain)
        with pytest.warns(UnknownOptionWarning, match="Did you mean 'countdown'"):
            other.apply_async(cuontdown=5)
        other.apply_async(zzz=1)
        assert [one.properties.get("zzz") for one in take(app)] == [None, 1]


# --- routing --------------------------------------------------------------------------------------


def test_automatic_routing_makes_queues(app: App, task: Any) -> None:
    task.apply_async(queue="made")
    queue = app.router.named("made")
    assert (queue.name, queue.routing_key or queue.name) == ("made", "made")


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        ({"feed.import": "exact", "feed.*": "glob"}, "exact"),
        ({"feed.*": "glob"}, "glob"),
        ({"feed.*": {"queue": "mapping", "priority": 4}}, "mapping"),
        ({re.compile(r"feed\.(im|ex)port"): "regex"}, "regex"),
        ([{"other": "no"}, {"feed.*": "second"}], "second"),
        ([[("feed.*", "pairs")]], "pairs"),
        ([lambda name, args, kwargs, options, task=None, **kw: None, {"feed.*": "on"}], "on"),
        ([lambda name, args, kwargs, options, task=None, **kw: {"queue": f"q{args[0]}"}], "q7"),
        ([f"{__name__}:route_by_tenant"], "acme"),
    ],
)
def test_task_routes(routes: Any, queue: str) -> None:
    with new_app(task_routes=routes) as app:
        app.task(name="feed.import")(plain).apply_async((7,), headers={"tenant": "acme"})
        assert take_one(app, queue).queue == queue


def route_by_tenant(name: str, args: Any, kwargs: Any, options: Any, **_: Any) -> str:
    return str(options["headers"]["tenant"])


def test_precedence_call_over_attribute_over_route_over_default() -> None:
    with new_app(task_routes={"*": "route"}, task_default_queue="default") as app:
        plain_one = app.task(name="a")(plain)
        own = app.task(name="b", queue="attribute")(plain)
        plain_one.delay()
        own.delay()
        own.apply_async(queue="call")
        found = take(app, "default", "route", "attribute", "call")
        assert sorted(one.queue for one in found) == ["attribute", "call", "route"]


def test_task_queues_and_default_queue() -> None:
    queues = [Queue("default"), Queue("video", routing_key="media.video")]
    with new_app(task_queues=queues, task_default_queue="default") as app:
        task = app.task(name="t")(plain)
        task.delay()
        task.apply_async(routing_key="media.video")
        assert [one.queue for one in take(app, "default", "video")] == ["default", "video"]


def test_default_and_inherited_priority() -> None:
    with new_app(task_default_priority=4, task_inherit_parent_priority=True) as app:
        app.task(name="t")(plain).delay()
        assert take_one(app).message.priority == 4


# --- publishing -----------------------------------------------------------------------------------


def test_broker_unreachable_is_an_operational_error_within_the_deadline() -> None:
    with new_app(broker="redis://:secret@127.0.0.1:1/0", broker_publish_timeout=0.3) as app:
        task = app.task(name="t")(plain)
        with pytest.raises(OperationalError) as caught:
            task.delay()
        assert isinstance(caught.value, task.OperationalError)
        assert "127.0.0.1:1" in str(caught.value)
        assert "secret" not in str(caught.value)


def test_an_argument_that_cannot_be_written_is_refused_here(app: App, task: Any) -> None:
    with pytest.raises(EncodeError, match=r"set|t"):
        task.delay({1, 2})
    assert waiting(app) == (0, 0)


@pytest.mark.parametrize(
    "value",
    [
        "text",
        1.5,
        True,
        None,
        [1, {"a": 2}],
        b"bytes",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        date(2026, 1, 2),
        time(3, 4, 5),
        Decimal("1.10"),
        uuid4(),
    ],
    ids=repr,
)
def test_json_types_come_back_as_they_were(app: App, task: Any, value: Any) -> None:
    with OneWorker(app, "celery"):
        back = task.delay(value).get(timeout=PATIENCE)
    assert (back, type(back)) == (value, type(value))


def test_eager_mode_runs_here_and_ignores_when_and_where() -> None:
    with new_app(task_always_eager=True) as app:
        task = app.task(name="t")(plain)
        result = task.apply_async(((1, 2),), countdown=100, queue="q", expires=5)
        assert (result.get(), result.state) == ([1, 2], "SUCCESS")
        assert waiting(app, "q") == (0, 0)
        assert app.task(name="f")(lambda: 1 / 0).delay().failed()
        app.conf.task_eager_propagates = True
        with pytest.raises(ZeroDivisionError):
            app.tasks["f"].delay()


def test_before_and_after_task_publish(app: App, task: Any) -> None:
    told: list[str] = []

    def before(sender: Any, headers: Any, body: Any, **_: Any) -> None:
        headers["trace"] = "id"
        told.append(f"before {sender}")

    def after(sender: Any, headers: Any, **_: Any) -> None:
        told.append(f"after {sender} {headers['trace']}")

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        task.delay()
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert told == ["before t", "after t id"]
    assert take_one(app).message.headers == {"trace": "id"}
