"""Tasks: options of the decorator, attributes and methods, request, handlers, pydantic."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.app.conftest import new_app
from tests.unit.app.mailbox import take_one, waiting
from umbel.app import signals
from umbel.app.app import App
from umbel.app.context import Context
from umbel.app.running import traceback_text
from umbel.app.task import Task
from umbel.errors import (
    Ignore,
    InvalidOption,
    MaxRetriesExceededError,
    OperationalError,
    Reject,
    ResultTimeout,
    Retry,
    TaskSignatureMismatch,
    UnknownOptionWarning,
    UsageError,
)

PATIENCE = 20


def run(app: App, task: Any, *args: Any, **options: Any) -> Any:
    """Send a task to a worker of this app and return the handle once it is over."""
    with OneWorker(app, "celery"):
        result = task.apply_async(args, **options)
        result.get(timeout=PATIENCE, propagate=False)
    return result


# --- options of the decorator ---------------------------------------------------------------------


def test_name_is_module_and_function_unless_given(app: App) -> None:
    assert app.task(plain).name == f"{__name__}.plain"
    assert app.task(name="n")(plain).name == "n"


def plain(x: Any = None) -> Any:
    return x


def test_bind_gives_the_task_as_first_argument(app: App) -> None:
    @app.task(bind=True)
    def bound(self: Any, x: int) -> tuple[str, int]:
        return self.name, x

    assert bound(1) == (bound.name, 1)
    assert run(app, bound, 2).get() == [bound.name, 2]


def test_base(app: App) -> None:
    class Own(Task[..., Any]):
        limit = 3

    assert app.task(base=Own, name="t")(plain).limit == 3


def test_max_retries_is_three_so_four_executions(app: App) -> None:
    runs: list[int] = []

    @app.task(bind=True, default_retry_delay=0)
    def again(self: Any) -> None:
        runs.append(self.request.retries)
        raise self.retry()

    result = run(app, again)
    assert runs == [0, 1, 2, 3]
    assert isinstance(result.result, MaxRetriesExceededError)
    assert f"Can't retry {again.name}[{result.id}]" in str(result.result)


def test_max_retries_none_is_for_ever(app: App) -> None:
    @app.task(bind=True, max_retries=None)
    def again(self: Any) -> int:
        if self.request.retries < 6:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    assert run(app, again).get() == 6


def test_default_retry_delay_is_three_minutes(app: App) -> None:
    @app.task(bind=True, name="t")
    def again(self: Any) -> None:
        self.retry()

    assert again.default_retry_delay == 180
    again.push_request(id="i", called_directly=False)
    with pytest.raises(Retry, match="Retry in 180s"):
        again.run()
    again.pop_request()


def test_autoretry_for_dont_autoretry_for_and_retry_kwargs(app: App) -> None:
    runs: list[str] = []

    @app.task(
        autoretry_for=(OSError,),
        dont_autoretry_for=(FileNotFoundError,),
        retry_kwargs={"max_retries": 2, "countdown": 0},
    )
    def shaky(kind: str) -> None:
        runs.append(kind)
        raise FileNotFoundError(kind) if kind == "missing" else OSError(kind)

    assert isinstance(run(app, shaky, "other").result, OSError)
    assert isinstance(run(app, shaky, "missing").result, FileNotFoundError)
    assert runs == ["other", "other", "other", "missing"]


def test_retry_backoff_retry_backoff_max_and_retry_jitter(app: App) -> None:
    @app.task(
        name="t",
        autoretry_for=(OSError,),
        max_retries=None,
        retry_backoff=2,
        retry_backoff_max=10,
        retry_jitter=False,
    )
    def shaky() -> None:
        raise OSError

    delays = []
    for retries in range(4):
        shaky.push_request(id="i", retries=retries, called_directly=False)
        from umbel.app.running import _retry_options

        delays.append(_retry_options(shaky, shaky.request)["countdown"])
        shaky.pop_request()
    assert delays == [2, 4, 8, 10]
    shaky.retry_jitter = True
    shaky.push_request(id="i", retries=3, called_directly=False)
    assert 0 <= _retry_options(shaky, shaky.request)["countdown"] <= 10
    shaky.pop_request()


def test_ignore_result_keeps_nothing(app: App) -> None:
    task = app.task(ignore_result=True, name="t")(plain)
    with OneWorker(app, "celery"):
        ignored = task.delay(1)
        # One worker runs one task at a time, in order: when this is over, the first one is.
        task.apply_async((2,), ignore_result=False).get(timeout=PATIENCE)
    assert ignored.get() is None
    assert app.AsyncResult(ignored.id).state == "PENDING"


def test_store_errors_even_if_ignored(app: App) -> None:
    @app.task(ignore_result=True, store_errors_even_if_ignored=True)
    def fail() -> None:
        raise ValueError("kept")

    with OneWorker(app, "celery"):
        result = app.AsyncResult(fail.delay().id)
        with pytest.raises(ValueError, match="kept"):
            result.get(timeout=PATIENCE)


def test_store_eager_result(app: App) -> None:
    task = app.task(name="t", store_eager_result=True)(plain)
    eager = task.apply((5,))
    assert app.AsyncResult(eager.id).get(timeout=1) == 5


def test_track_started(app: App) -> None:
    states: list[Any] = []

    @app.task(bind=True, track_started=True)
    def look(self: Any) -> None:
        stored = app.AsyncResult(self.request.id)
        states.append((stored.state, sorted(stored.info)))

    run(app, look)
    assert states == [("STARTED", ["hostname", "pid"])]


@pytest.mark.parametrize(
    ("option", "value", "usual"),
    [
        ("acks_late", False, True),
        ("acks_on_failure", False, True),
        ("acks_on_timeout", False, True),
        ("acks_on_failure_or_timeout", False, True),
        ("reject_on_worker_lost", False, True),
        ("retry_on_worker_lost", True, False),
        ("rate_limit", "10/m", None),
        ("send_events", False, True),
        ("typing", False, True),
        ("trail", False, True),
        ("resultrepr_maxsize", 20, 1024),
        ("throws", (OSError,), ()),
        ("pydantic_strict", True, False),
    ],
)
def test_options_are_attributes_with_defaults(
    app: App, option: str, value: Any, usual: Any
) -> None:
    assert getattr(app.task(name="usual")(plain), option) == usual
    assert getattr(app.task(name="own", **{option: value})(plain), option) == value


def test_time_limit_and_soft_time_limit(app: App) -> None:
    task = app.task(name="t", time_limit=20, soft_time_limit=10)(plain)
    task.delay()
    message = take_one(app).message
    assert (message.time_limit, message.soft_time_limit) == (20, 10)
    task.apply_async(time_limit=5, soft_time_limit=4)
    message = take_one(app).message
    assert (message.time_limit, message.soft_time_limit) == (5, 4)


def test_a_soft_limit_after_the_hard_one_is_refused(app: App) -> None:
    task = app.task(name="t", time_limit=10, soft_time_limit=20)(plain)
    with pytest.raises(ValueError, match=r"soft_time_limit \(20\) must not be greater"):
        task.delay()


def test_serializer_compression_expires_priority(app: App) -> None:
    task = app.task(name="t", serializer="pickle", compression="gzip", expires=60, priority=3)(
        plain
    )
    app.conf.accept_content = ["pickle"]
    task.delay(1)
    sent = take_one(app)
    assert sent.encoded.content_type == "application/x-python-serialize"
    assert sent.headers["compression"] == "application/x-gzip"
    assert sent.message.expires is not None
    assert sent.properties["priority"] == 3


def test_throws_is_logged_without_a_traceback(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(name="t", throws=(KeyError,))
    def fail() -> None:
        raise KeyError("expected")

    with caplog.at_level(logging.INFO):
        assert run(app, fail).state == "FAILURE"
    (line,) = [one for one in caplog.records if "raised expected" in one.getMessage()]
    assert line.levelno == logging.INFO


def test_queue_exchange_routing_key_delivery_mode_as_attributes() -> None:
    with new_app(task_routes={"t": "from_routes"}) as app:
        app.task(name="t", queue="own", delivery_mode=1)(plain).delay()
        sent = take_one(app, "own")
        assert sent.properties["delivery_mode"] == 1
        app.task(name="u", exchange="e", routing_key="k")(plain).delay()
        assert take_one(app, "k").queue == "k"


def test_backend_of_the_task_alone(app: App) -> None:
    with new_app("other") as other:
        task = app.task(name="t", backend=other.result_backend)(plain)
        assert task.backend is other.result_backend
        assert task.AsyncResult("i").backend is other.result_backend


def test_shadow_name(app: App) -> None:
    task = app.task(name="t", shadow_name=lambda self, args, kwargs, options: f"t-{args[0]}")(plain)
    task.delay(7)
    assert take_one(app).headers["shadow"] == "t-7"


def test_typing_checks_arguments_at_the_call(app: App) -> None:
    @app.task(name="t")
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(TypeError, match=r"t\(x: int, y: int\)|missing a required argument: 'y'"):
        add.delay(1)  # type: ignore[call-arg]  # the slip
    with pytest.raises(TaskSignatureMismatch, match="t"):
        add.delay(1, "2")  # type: ignore[arg-type]  # the slip


def test_pydantic(app: App) -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Point", x=(int, ...))

    def move(point: Any) -> Any:
        return model(x=point.x + 1)

    move.__annotations__ = {"point": model, "return": model}
    task = app.task(name="t", pydantic=True)(move)
    assert run(app, task, model(x=1)).get() == {"x": 2}
    assert run(app, task, {"x": 1}).get() == {"x": 2}
    assert task(model(x=1)) == {"x": 2}
    failed = run(app, task, {"x": "no number"})
    assert failed.state == "FAILURE"
    assert "ValidationError" in failed.traceback


def test_lazy_filter_shared_abstract_are_taken(app: App) -> None:
    task = app.task(name="t", lazy=False, shared=False, abstract=True, filter=lambda one: [one])(
        plain
    )
    assert task == [app.tasks["t"]]


def test_hooks_given_as_options_become_methods(app: App) -> None:
    seen: list[Any] = []
    task = app.task(name="t", on_success=lambda self, value, *rest: seen.append((self, value)))(
        plain
    )
    run(app, task, 3)
    assert seen == [(task, 3)]


def test_an_unknown_option_is_an_attribute_and_a_slip_warns(app: App) -> None:
    assert app.task(name="t", colour="red")(plain).colour == "red"
    with pytest.warns(UnknownOptionWarning, match="Did you mean 'max_retries'"):
        app.task(name="u", max_retrys=3)(plain)


# --- attributes and methods -----------------------------------------------------------------------


def test_call_runs_inline_and_own_call_is_honoured_by_the_worker(app: App) -> None:
    class Shouting(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return f"{super().__call__(*args, **kwargs)}!"

    task = app.task(base=Shouting, name="t")(plain)
    assert task("hey") == "hey!"
    assert run(app, task, "hey").get() == "hey!"


def test_run_is_the_body(app: App) -> None:
    assert app.task(name="t")(plain).run(4) == 4
    with pytest.raises(NotImplementedError, match="has no run method"):
        Task().run()


def test_delay_apply_async_apply_s_si_signature_subtask(app: App) -> None:
    task = app.task(name="t")(plain)
    assert task.apply((1,)).get() == 1
    assert task.s(1) == task.signature((1,)) == task.subtask((1,))
    assert task.si(1).immutable


def test_retry_keeps_id_and_queue_and_counts(app: App) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def again(self: Any) -> None:
        seen.append((self.request.id, self.request.retries, self.request.delivery_info))
        if not self.request.retries:
            raise self.retry(countdown=0)

    result = run(app, again)
    assert [one[:2] for one in seen] == [(result.id, 0), (result.id, 1)]
    assert [one[2]["routing_key"] for one in seen] == ["celery", "celery"]


def test_retry_with_other_arguments_exc_and_a_limit_of_its_own(app: App) -> None:
    @app.task(bind=True)
    def again(self: Any, x: int, y: int = 0) -> None:
        raise self.retry((x + 1,), {"y": 5}, exc=LookupError(f"{x}{y}"), countdown=0, max_retries=1)

    assert str(run(app, again, 1).result) == "25"


def test_retry_outside_a_worker_raises_the_current_error(app: App) -> None:
    @app.task(bind=True)
    def again(self: Any) -> None:
        try:
            raise OSError("current")
        except OSError as error:
            raise self.retry(exc=error) from error

    with pytest.raises(OSError, match="current"):
        again()


def test_request_is_empty_when_nothing_runs(app: App) -> None:
    task = app.task(name="t")(plain)
    assert (task.request.id, task.request.called_directly) == (None, True)


def test_update_state_writes_custom_states(app: App) -> None:
    states: list[Any] = []

    @app.task(bind=True)
    def work(self: Any) -> None:
        self.update_state(state="PROGRESS", meta={"done": 5})
        stored = app.AsyncResult(self.request.id)
        states.append((stored.state, stored.info, stored.ready()))

    run(app, work)
    work.update_state("other-id", "WAITING", {"for": "rain"})
    assert states == [("PROGRESS", {"done": 5}, False)]
    assert app.AsyncResult("other-id").state == "WAITING"


def test_replace_keeps_the_id(app: App) -> None:
    final = app.task(name="final")(plain)

    @app.task(bind=True)
    def first(self: Any, x: int) -> None:
        self.replace(final.s(x * 2))

    assert run(app, first, 4).get() == 8


def test_asyncresult_map_and_starmap(app: App) -> None:
    @app.task
    def add(x: int, y: int = 1) -> int:
        return x + y

    @app.task
    async def later(x: int) -> int:
        return x * 10

    assert add.AsyncResult("i").id == "i"
    with OneWorker(app, "celery"):
        assert add.map([1, 2]).delay().get(timeout=PATIENCE) == [2, 3]
        assert add.starmap([(1, 2), (3, 4)]).apply_async().get(timeout=PATIENCE) == [3, 7]
        assert later.map(range(3)).delay().get(timeout=PATIENCE) == [0, 10, 20]
    assert add.map([5])() == [6]
    with pytest.raises(UsageError, match="a number of calls for each message, and got 0"):
        add.chunks([(1, 2)], 0)


def test_map_goes_where_its_task_goes() -> None:
    with new_app(task_routes={"t": "busy"}) as app:
        app.task(name="t")(plain).map([1]).delay()
        assert take_one(app, "busy").message.task == "celery.map"


def test_messages_of_celerys_map_and_starmap(app: App) -> None:
    """As real clients write them: a nested signature with its six keys."""
    app.task(name="t")(lambda *args: sum(args))
    call: dict[str, Any] = {
        "task": "t",
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    with OneWorker(app, "celery"):
        sent = app.send_task("celery.map", (), {"task": call, "it": [1, 2]})
        starred = app.send_task("celery.starmap", (), {"task": call, "it": [[1, 2], [3, 4]]})
        unknown = app.send_task("celery.map", (), {"task": {**call, "task": "who"}, "it": [1]})
        assert sent.get(timeout=PATIENCE) == [1, 2]
        assert starred.get(timeout=PATIENCE) == [3, 7]
        with pytest.raises(KeyError, match="There is no task 'who' here"):
            unknown.get(timeout=PATIENCE)


def test_accumulate_and_backend_cleanup(app: App) -> None:
    with OneWorker(app, "celery"):
        assert app.send_task("celery.accumulate", (1, 2)).get(timeout=PATIENCE) == [1, 2]
        one = app.send_task("celery.accumulate", (1, 2), {"index": 1})
        assert one.get(timeout=PATIENCE) == 2
        assert app.send_task("celery.backend_cleanup").get(timeout=PATIENCE) is None


@pytest.mark.parametrize("kind", ["chain", "group", "chord", "chunks"])
def test_workflow_tasks_of_celery_fail_clearly(app: App, kind: str) -> None:
    result = run(app, app.tasks[f"celery.{kind}"], 1, 2)
    assert f"celery.{kind} is the name of a signature, not of a task" in str(result.result)


def test_add_to_chord(app: App) -> None:
    task = app.task(name="t")(plain)
    with pytest.raises(ValueError, match="t does not run in a chord"):
        task.add_to_chord(task.s(1))
    task.push_request(id="i", chord={"task": "body"}, group="g")
    added = task.add_to_chord(task.s(1))
    assert [one.grow.join_id for one in task.request.additions] == ["g"]
    assert waiting(app) == (0, 0)  # it is sent with the end of the run
    lazy = task.add_to_chord(task.s(2), lazy=True)
    assert (lazy.options["group_id"], lazy.id != added.id) == ("g", True)
    task.pop_request()


def test_send_event_tells_monitors(app: App) -> None:
    with app.events.Receiver() as receiver:
        receiver.receive(0)
        task = app.tasks["t"] if "t" in app.tasks else app.task(lambda: None, name="t")
        task.send_event("task-halfway", done=50)
        (event,) = receiver.receive(5)
    assert (event["type"], event["done"]) == ("task-halfway", 50)


def test_on_bound_is_told_the_app(app: App) -> None:
    told: list[Any] = []

    class Own(Task[..., Any]):
        @classmethod
        def on_bound(cls, app: App) -> None:
            told.append(app)

    app.task(base=Own, name="t")(plain)
    app.finalize()
    assert told == [app]


def test_introspection(app: App) -> None:
    task = app.task(name="t")(plain)
    assert (task.app, task.__name__, task.__module__) == (app, "plain", __name__)
    assert (task.__qualname__, task.__wrapped__) == ("plain", plain)
    assert task.MaxRetriesExceededError is MaxRetriesExceededError
    assert task.OperationalError is OperationalError


def test_push_request_fakes_one(app: App) -> None:
    task = app.task(bind=True, name="t")(lambda self: self.request.id)
    task.push_request(id="fake")
    assert (task.request.id, task.run()) == ("fake", "fake")
    task.pop_request()
    assert task.request.id is None


def test_one_instance_for_all_runs(app: App) -> None:
    class Counting(Task[..., Any]):
        count = 0

    task = app.task(base=Counting, bind=True, name="t")(count_up)
    run(app, task)
    assert run(app, task).get() == 2


def count_up(self: Any) -> int:
    self.count += 1
    return int(self.count)


# --- the request ----------------------------------------------------------------------------------


def test_request_in_a_worker(app: App) -> None:
    seen: list[Context] = []

    @app.task(bind=True, name="t")
    def look(self: Any, *args: Any, **kwargs: Any) -> None:
        self.request.delivery_info  # noqa: B018 - derived while it runs
        seen.append(self.request)

    callback, errback = look.si("callback"), look.si("errback")
    result = run(
        app,
        look,
        1,
        kwargs=None,
        headers={"tenant": "acme"},
        expires=600,
        countdown=0,
        time_limit=9,
        soft_time_limit=8,
        link=callback,
        link_error=errback,
        reply_to="back",
        correlation_id="corr",
        shadow="s",
        group_id="g",
        group_index=3,
    )
    request = seen[0]
    assert (request.id, request.root_id, request.parent_id) == (result.id, result.id, None)
    assert (list(request.args), request.kwargs, request.retries) == ([1], {}, 0)
    assert (request.is_eager, request.called_directly) == (False, False)
    assert request.hostname == "one@test"
    assert request.timelimit == [9, 8]
    assert (request.time_limit, request.soft_time_limit) == (9, 8)
    assert (request.eta, request.expires is not None) == (None, True)
    assert (request.headers, request.tenant) == ({"tenant": "acme"}, "acme")
    assert (request.group, request.taskset, request.group_index) == ("g", "g", 3)
    assert (request.correlation_id, request.reply_to) == ("corr", "back")
    assert request.origin
    assert [one["args"] for one in request.callbacks or ()] == [["callback"]]
    assert [one["args"] for one in request.errbacks or ()] == [["errback"]]
    assert (request.shadow, request.ignore_result, request.utc) == ("s", False, None)
    info = request.delivery_info
    assert info is not None
    assert {"exchange", "routing_key", "priority", "redelivered"} <= set(info)
    assert request.get("no_such_field", 5) == 5
    assert request.as_execution_options()["task_id"] == result.id
    with pytest.raises(AttributeError, match="neither a field nor a custom header"):
        _ = request.tennant


def test_request_children_and_lineage(app: App) -> None:
    parents: list[Any] = []

    @app.task(bind=True, name="child")
    def child(self: Any) -> None:
        parents.append((self.request.root_id, self.request.parent_id))

    @app.task(bind=True, name="parent")
    def parent(self: Any) -> int:
        child.delay()
        return len(self.request.children)

    with OneWorker(app, "celery"):
        result = parent.delay()
        assert result.get(timeout=PATIENCE) == 1
        (sent,) = result.children or [None]
        sent.get(timeout=PATIENCE)
    assert parents == [(result.id, result.id)]


def test_request_called_directly_and_eager(app: App) -> None:
    task = app.task(bind=True, name="t")(
        lambda self: (self.request.called_directly, self.request.is_eager)
    )
    assert task() == (True, False)
    assert task.apply().get() == (False, True)


# --- handlers and their order ---------------------------------------------------------------------


class Watched(Task[..., Any]):
    """Notes every handler that is called."""

    calls: Sequence[Any] = ()

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.calls = [*self.calls, ("before_start", task_id, list(args), dict(kwargs))]

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.calls = [*self.calls, ("on_success", retval)]

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls = [*self.calls, ("on_failure", repr(exc), "Traceback" in str(einfo))]

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.calls = [*self.calls, ("on_retry", repr(exc))]

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        self.calls = [*self.calls, ("after_return", status)]


def test_order_of_a_success(app: App) -> None:
    order: list[str] = []

    class Own(Watched):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "calls":
                order.append(value[-1][0])
            super().__setattr__(name, value)

    @app.task(base=Own, name="t")
    def work(x: int) -> int:
        order.append("body")
        return x

    pairs = {
        "task_prerun": signals.task_prerun,
        "task_success": signals.task_success,
        "task_postrun": signals.task_postrun,
    }
    for name, signal in pairs.items():
        signal.connect(
            lambda _name=name, **_: order.append(_name), weak=False, sender=work, dispatch_uid=name
        )
    run(app, work, 1)
    assert order == [
        "task_prerun",
        "before_start",
        "body",
        "on_success",
        "task_success",
        "after_return",
        "task_postrun",
    ]
    for name, signal in pairs.items():
        signal.disconnect(sender=work, dispatch_uid=name)


def test_on_failure_and_after_return(app: App) -> None:
    task: Any = app.task(base=Watched, name="t")(fail_with)
    result = run(app, task, "text")
    assert [one[0] for one in task.calls] == ["before_start", "on_failure", "after_return"]
    assert task.calls[1] == ("on_failure", "ValueError('text')", True)
    assert task.calls[2] == ("after_return", "FAILURE")
    assert result.traceback.splitlines()[1].startswith(f'  File "{__file__}"')


def fail_with(text: str) -> None:
    raise ValueError(text)


def test_on_retry_and_no_after_return_for_it(app: App) -> None:
    @app.task(base=Watched, bind=True, name="t")
    def again(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(exc=OSError("x"), countdown=0)

    run(app, again)
    names = [one[0] for one in app.tasks["t"].calls]  # type: ignore[attr-defined]  # its class
    assert names == ["before_start", "on_retry", "before_start", "on_success", "after_return"]


def test_a_failing_before_start_fails_the_task_and_other_handlers_are_only_logged(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    def break_it(self: Any, *_: Any) -> None:
        raise RuntimeError("broken handler")

    before = app.task(name="before", before_start=break_it)(plain)
    after = app.task(name="after", on_success=break_it, after_return=break_it)(plain)
    assert run(app, before).state == "FAILURE"
    assert run(app, after).state == "SUCCESS"
    assert caplog.text.count("broken handler") >= 2


def test_ignore_leaves_the_state(app: App) -> None:
    ignoring = app.task(name="ignoring")(raise_ignore)
    last = app.task(name="last")(plain)
    with OneWorker(app, "celery"):
        result = ignoring.delay()
        last.delay().get(timeout=PATIENCE)
    assert result.state == "PENDING"


def raise_ignore() -> None:
    raise Ignore("enough")


def test_reject_without_requeue_is_a_failure(app: App) -> None:
    @app.task(name="t")
    def reject() -> None:
        raise Reject("not mine", requeue=False)

    assert run(app, reject).state == "FAILURE"


def test_reject_with_requeue_comes_again(app: App) -> None:
    runs: list[bool] = []

    @app.task(bind=True, name="t")
    def reject(self: Any) -> str:
        runs.append(self.request.delivery_info["redelivered"])
        if len(runs) < 2:
            raise Reject("later", requeue=True)
        return "done"

    assert run(app, reject).get() == "done"
    assert len(runs) == 2


def test_exhausted_retries_raise_the_last_error_and_show_the_users_frame_first(app: App) -> None:
    @app.task(name="t", autoretry_for=(OSError,), max_retries=1, default_retry_delay=0)
    def shaky() -> None:
        raise OSError("really")

    result = run(app, shaky)
    assert str(result.result) == "really"
    frames = re.findall(r'File "([^"]+)", line \d+, in (\w+)', result.traceback)
    assert frames[0] == (__file__, "shaky")


def test_a_traceback_without_a_frame_of_the_users_is_whole() -> None:
    with new_app() as app, pytest.raises(KeyError) as caught:
        _ = app.tasks["none"]
    assert f'File "{__file__}"' in traceback_text(caught.value)
    assert caught.tb is not None
    inner = caught.value.with_traceback(caught.tb.tb_next)
    assert "registry.py" in traceback_text(inner)


def test_task_annotations_change_attributes_and_wrap(app: App) -> None:
    def loud(function: Any) -> Any:
        return lambda *args: f"{function(*args)}!"

    app.conf.task_annotations = {"*": {"max_retries": 9}, "t": {"@run": loud}}
    task = app.task(name="t")(plain)
    assert run(app, task, "x").get() == "x!"
    assert task.max_retries == 9


def test_an_unknown_task_is_a_failure_that_says_so(app: App) -> None:
    with OneWorker(app, "celery"):
        result = app.send_task("nowhere.to.be.found")
        with pytest.raises(KeyError, match=r"There is no task 'nowhere.to.be.found' here"):
            result.get(timeout=PATIENCE)


def test_a_result_that_cannot_be_written_is_a_failure(app: App) -> None:
    result = run(app, app.task(name="t")(object))
    assert result.state == "FAILURE"
    assert "EncodeError" in result.traceback


def test_a_wrong_limit_and_a_timeout_say_so(app: App) -> None:
    with pytest.raises(InvalidOption, match="time_limit takes a number of seconds"):
        app.task(name="t")(plain).apply_async(time_limit="5")
    with pytest.raises(ResultTimeout, match=r"0\.01"):
        app.AsyncResult("never").get(timeout=0.01)
