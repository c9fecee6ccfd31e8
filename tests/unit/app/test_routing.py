from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from umbel.app.app import App
from umbel.app.routing import Router
from umbel.config.settings import Settings
from umbel.errors import ImproperlyConfigured, QueueNotFound
from umbel.model.queues import Queue

from .conftest import new_app
from .mailbox import take_one


def router(**settings: Any) -> Router:
    return Router(Settings(**settings))


def queue_name(routes: Any, task: str, **options: Any) -> str:
    return router(task_routes=routes).queue_for(task, options).name


def test_the_default_queue() -> None:
    assert router().queue_for("t") == Queue("celery")
    named = router(task_default_queue="main", task_default_exchange="ex").queue_for("t")
    assert (named.name, named.exchange) == ("main", "ex")


def test_exact_names_go_before_patterns_and_patterns_in_order() -> None:
    routes = {
        "feed.*": "feeds",
        "feed.tasks.urgent": {"queue": "urgent"},
        re.compile(r"(video|image)\..*"): {"queue": "media"},
        "*": "rest",
    }
    assert queue_name(routes, "feed.tasks.urgent") == "urgent"
    assert queue_name(routes, "feed.tasks.other") == "feeds"
    assert queue_name(routes, "image.resize") == "media"
    assert queue_name(routes, "x") == "rest"
    assert queue_name({"a": "b"}, "x") == "celery"


@pytest.mark.parametrize(
    "routes",
    [
        [("a.*", {"queue": "q"}), ("b.*", "other")],
        ([("a.*", {"queue": "q"})],),
        [{"b.*": "other"}, {"a.*": "q"}],
        [lambda name, *_, **__: None, {"a.*": "q"}],
    ],
)
def test_lists_of_routers_and_of_pairs(routes: Any) -> None:
    assert queue_name(routes, "a.task") == "q"


def test_a_function_sees_the_call_and_its_options() -> None:
    seen: list[Any] = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
        seen.append((name, args, kwargs, dict(options), task))
        return {"queue": "big" if args[0] > 10 else "small", "priority": 3}

    asked = router(task_routes=(route,))
    assert asked.depends_on_call
    queue, more = asked.route("t", {"serializer": "json"}, (11,), {"k": 1}, "the task")
    assert (queue.name, more) == ("big", {"priority": 3})
    assert seen == [("t", (11,), {"k": 1}, {"serializer": "json"}, "the task")]


class OldRouter:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return "old" if task == "t" else None


def test_router_classes_instances_and_dotted_names() -> None:
    assert queue_name([OldRouter], "t") == "old"
    assert queue_name(OldRouter(), "t") == "old"
    assert queue_name([f"{__name__}.OldRouter"], "t") == "old"
    assert queue_name(f"{__name__}:OldRouter", "x") == "celery"


def test_a_queue_given_with_the_call_bypasses_routes() -> None:
    assert queue_name({"t": "routed"}, "t", queue="given") == "given"


def test_unknown_queues_are_made_unless_that_is_off() -> None:
    known = [Queue("high"), Queue("low")]
    made = router(task_queues=known)
    assert made.queue_for("t", {"queue": "new"}) == Queue("new")
    assert list(made.queues) == ["high", "low"]  # a worker consumes the configured ones
    strict = router(task_queues=known, task_create_missing_queues=False)
    with pytest.raises(QueueNotFound, match=r"no queue 'hihg': did you mean 'high'\?") as caught:
        strict.queue_for("t", {"queue": "hihg"})
    assert "task_create_missing_queues is off" in str(caught.value)
    assert strict.queue_for("t", {"queue": "low"}).name == "low"


def test_queues_in_every_form() -> None:
    exchange = SimpleNamespace(name="media", type="topic")
    kombu_like = SimpleNamespace(
        name="video",
        exchange=exchange,
        routing_key="video.#",
        queue_arguments={"x-max-priority": 5},
        max_priority=None,
    )
    found = router(task_queues=[kombu_like, "plain", Queue("own")], task_queue_max_priority=9)
    assert found.queues["video"] == Queue(
        "video",
        exchange="media",
        routing_key="video.#",
        exchange_type="topic",
        max_priority=5,
        arguments={"x-max-priority": 5},
    )
    assert found.queues["plain"].max_priority == 9
    mapped = router(
        task_queues={"cpu": {"exchange": "cpu", "binding_key": "c"}, "other": {}}
    ).queues
    assert mapped["cpu"] == Queue("cpu", exchange="cpu", routing_key="c")
    assert mapped["other"] == Queue("other")


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ({"exchange": "media", "routing_key": "video.mp4"}, "video"),
        ({"exchange": "media", "routing_key": "video"}, "video"),
        ({"exchange": "media", "routing_key": "image.png"}, "image"),
        ({"exchange": "all", "routing_key": "whatever"}, "all"),
        ({"exchange": "plain"}, "plain"),
        ({"routing_key": "nowhere"}, "celery"),
        ({"exchange": "media", "routing_key": "sound.wav"}, "sound.wav"),
    ],
)
def test_exchange_and_routing_key_lead_to_the_queue_they_are_bound_to(
    options: dict[str, str], queue: str
) -> None:
    found = router(
        task_queues=[
            Queue("video", "media", "video.#", "topic"),
            Queue("image", "media", "image.*", "topic"),
            Queue("all", "all", None, "fanout"),
            Queue("plain"),
        ]
    )
    assert found.queue_for("t", options).name == queue


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        ({3: "q"}, "3 is neither a task name"),
        ({"t": 3}, "the route of 't' is 3"),
        ([3], "3 is not a router"),
        (["nowhere.at_all"], "'nowhere.at_all' cannot be imported"),
        (["word"], "'word' names nothing"),
    ],
)
def test_wrong_routes_are_told_at_once(routes: Any, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"task_routes: .*{text}"):
        router(task_routes=routes)


def test_a_router_that_answers_nonsense() -> None:
    with pytest.raises(ImproperlyConfigured, match="the route of 't' is 7"):
        router(task_routes=lambda *_, **__: 7).queue_for("t")


def test_a_queue_without_a_name() -> None:
    with pytest.raises(ImproperlyConfigured, match="is not a queue"):
        router(task_queues=[{"exchange": "x"}])


@pytest.fixture
def routed() -> Iterator[App]:
    with new_app(task_routes={"t.routed": {"queue": "by_route", "priority": 7}}) as app:
        yield app


def test_precedence_call_then_task_then_route(routed: App) -> None:
    plain = routed.task(name="t.routed")(lambda: None)
    own = routed.task(name="t.own", queue="by_task")(lambda: None)
    plain.delay()
    sent = take_one(routed, "by_route")
    assert sent.message.priority == 7
    own.delay()
    take_one(routed, "by_task")
    plain.apply_async(queue="by_call", priority=1)
    assert take_one(routed, "by_call").message.priority == 1
    routed.send_task("t.routed")
    take_one(routed, "by_route")


def test_changing_the_routes_changes_where_tasks_go(routed: App) -> None:
    task = routed.task(name="t.routed")(lambda: None)
    task.delay()
    routed.conf.task_routes = {"t.*": "elsewhere"}
    task.delay()
    take_one(routed, "by_route")
    take_one(routed, "elsewhere")


def test_a_router_named_by_a_setting_in_a_users_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("users_routers")
    module.route = lambda name, *_, **__: f"q-{name}"  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "users_routers", module)
    assert queue_name(["users_routers.route"], "t") == "q-t"
