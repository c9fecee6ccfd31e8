from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from umbel.app import context, current
from umbel.app.app import App
from umbel.app.context import Context
from umbel.app.registry import TaskRegistry
from umbel.app.task import AsyncTask, Task
from umbel.errors import (
    AlreadyRegistered,
    DuplicateTaskNameWarning,
    ImproperlyConfigured,
    NotRegistered,
    UnknownOptionWarning,
)

from .conftest import new_app
from .mailbox import take_one, waiting


def plain(x: int, y: int = 2) -> int:
    """Add two numbers."""
    return x + y


# --- making ---------------------------------------------------------------------------------------


def test_a_task_looks_like_its_function(app: App) -> None:
    task = app.task(plain)
    assert task(1, 2) == 3
    assert task.name == f"{__name__}.plain"
    assert (task.__name__, task.__module__, task.__doc__) == (
        "plain",
        __name__,
        "Add two numbers.",
    )
    assert task.__qualname__ == "plain"
    assert task.__wrapped__ is plain
    assert task.run is plain
    assert task.app is app
    assert repr(task) == f"<@task: {__name__}.plain of x>"
    assert isinstance(task, Task)
    assert isinstance(task, app.Task)


def test_options_become_attributes(app: App) -> None:
    task = app.task(name="t", max_retries=None, queue="q", own_thing=7)(plain)
    assert task.name == "t"
    assert task.max_retries is None  # for ever
    assert (task.queue, task.own_thing) == ("q", 7)  # type: ignore[attr-defined]  # any option
    direct = app.task(lambda: None, name="direct")
    assert direct.name == "direct"


def test_a_misspelt_option_warns(app: App) -> None:
    with pytest.warns(UnknownOptionWarning, match=r"'max_retry' .*Did you mean 'max_retries'\?"):
        app.task(name="t", max_retry=5)(plain)


def test_bound_tasks_get_themselves(app: App) -> None:
    @app.task(bind=True, name="t")
    def task(self: Any, x: int) -> Any:
        return self, x, self.request.called_directly

    assert task(3) == (task, 3, True)
    task.delay(3)
    with pytest.raises(TypeError, match=r"missing a required argument: 'x'.*t\(x: int\)"):
        task.delay()  # type: ignore[call-arg]  # the error under test


def test_coroutine_tasks(app: App) -> None:
    @app.task(name="t")
    async def task(x: int) -> int:
        await asyncio.sleep(0)
        assert task.request.args == (x,)
        return x

    assert task.is_async
    assert isinstance(task, AsyncTask)
    assert asyncio.run(task(4)) == 4
    task.delay(4)
    assert waiting(app) == (1, 0)


def test_attributes_come_from_the_settings_until_they_are_set(app: App) -> None:
    task = app.task(name="t")(plain)
    assert task.acks_late is True  # the profile's default
    app.conf.task_acks_late = False
    app.conf.task_default_rate_limit = "5/s"
    assert (task.acks_late, task.rate_limit) == (False, "5/s")
    task.acks_late = True
    assert task.acks_late is True
    app.conf.task_acks_on_failure_or_timeout = False
    assert (task.acks_on_failure, task.acks_on_timeout) == (False, False)
    app.conf.task_acks_on_timeout = True
    assert (task.acks_on_failure, task.acks_on_timeout) == (False, True)
    assert Task.acks_late is None


def test_base_classes_and_their_hooks(app: App) -> None:
    made: list[str] = []

    class Base(Task[..., Any]):
        max_retries = 9

        def __init__(self) -> None:
            made.append(self.name)

        def on_success(self, *_: Any) -> None: ...

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "called", super().__call__(*args, **kwargs)

    task = app.task(name="t", base=Base)(plain)
    assert made == ["t"]
    assert (task.max_retries, task.has_on_success, task.has_on_failure) == (9, True, False)
    assert task.has_own_call
    assert task(1) == ("called", 3)
    named = app.task(name="n", base=f"{__name__}:Hooked")(lambda: None)
    assert named.has_after_return
    with pytest.raises(TypeError, match="is not a subclass of Task"):
        app.task(base=int)(lambda: None)


class Hooked(Task[..., Any]):
    def after_return(self, *_: Any) -> None: ...


def test_the_apps_own_task_class() -> None:
    with new_app(task_cls=Hooked) as app:
        assert issubclass(app.Task, Hooked)
        assert app.task(plain).has_after_return


def test_an_overridden_call_is_the_run_itself(app: App) -> None:
    class Base(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    @app.task(name="fact", base=Base, bind=True)
    def fact(self: Any, n: int) -> Any:
        seen.append((self.request.id, self.request.called_directly))
        return 1 if n < 2 else n * fact(n - 1)

    seen: list[Any] = []
    assert fact.apply((3,), task_id="outer").get() == 6
    assert seen == [("outer", False), (None, True), (None, True)]


def test_hooks_given_as_options_are_methods(app: App) -> None:
    calls: list[Any] = []

    def on_failure(self: Any, exc: Any, *_: Any) -> None:
        calls.append((self.name, str(exc)))

    @app.task(name="t", on_failure=on_failure)
    def task() -> None:
        raise ValueError("no")

    assert task.has_on_failure
    assert task.apply().state == "FAILURE"
    assert calls == [("t", "no")]


def test_filter_has_the_last_word(app: App) -> None:
    kept = app.task(lambda: 1, name="t", filter=lambda task: ("filtered", task.name))
    assert kept == ("filtered", "t")


def test_only_functions_are_decorated(app: App) -> None:
    with pytest.raises(TypeError, match=r"app.task decorates functions, and got 3"):
        app.task(3)  # type: ignore[call-overload]  # the error under test


# --- names ----------------------------------------------------------------------------------------


def in_main(**fields: Any) -> Any:
    def add(x: int) -> int:
        return x

    add.__module__ = "__main__"
    return add


def test_names_in_the_script_that_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_app("shop") as app:
        assert app.task(in_main()).name == "shop.add"
    script = ModuleType("__main__")
    script.__file__ = "/srv/tasks.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    with new_app(None) as app:
        assert app.task(in_main()).name == "tasks.add"  # as a worker that imports it calls it
    script.__spec__ = type("Spec", (), {"name": "proj.jobs.__main__"})()
    with new_app(None) as app:
        assert app.task(in_main()).name == "proj.jobs.add"


def test_naming_can_be_overridden() -> None:
    class Own(App):
        def gen_task_name(self, name: str, module: str) -> str:
            return f"own:{name}"

    with new_app(cls=Own) as app:
        assert app.task(plain).name == "own:plain"


def test_two_functions_with_one_name(app: App, celery_app: App) -> None:
    def first() -> int:
        return 1

    def second() -> int:
        return 2

    app.task(name="t")(first)
    with pytest.raises(AlreadyRegistered, match=r"claim the name 't': .*first and .*second"):
        app.task(name="t")(second)
    one = celery_app.task(name="t")(first)
    with pytest.warns(DuplicateTaskNameWarning, match="The first one keeps it"):
        two = celery_app.task(name="t")(second)
    assert two is one


def test_a_function_that_is_defined_again_replaces_itself(app: App) -> None:
    def define(value: int) -> Any:
        @app.task(name="t")
        def task() -> int:
            return value

        return task

    define(1)
    define(2)
    assert app.tasks["t"]() == 2


# --- class-based tasks ----------------------------------------------------------------------------


def test_class_based_tasks(app: App) -> None:
    class Greet(app.Task):  # type: ignore[name-defined,misc]  # a class made by the app
        def run(self, name: str) -> str:
            return f"hello {name}"

    task = app.register_task(Greet())
    assert task.name == f"{__name__}.Greet"
    assert app.tasks[task.name] is task
    assert task("you") == "hello you"
    task.delay("you")
    assert list(take_one(app).message.args) == ["you"]
    with pytest.raises(TypeError, match="missing a required argument: 'name'"):
        task.delay()
    assert app.register_task(Greet, max_retries=1).max_retries == 1


def test_registering_over_another_task_warns(app: App) -> None:
    class One(Task[..., Any]):
        name = "t"

    class Two(Task[..., Any]):
        name = "t"

    app.register_task(One)
    with pytest.warns(DuplicateTaskNameWarning, match="'t' is taken over"):
        two = app.register_task(Two)
    assert app.tasks["t"] is two
    with pytest.raises(NotImplementedError, match="Task t has no run method"):
        two()
    with pytest.raises(TypeError, match="register_task takes a Task, and got 3"):
        app.register_task(3)  # type: ignore[arg-type]  # the error under test


# --- the registry ---------------------------------------------------------------------------------


def test_registry(app: App) -> None:
    task = app.task(name="proj.add")(plain)
    tasks = app.tasks
    assert isinstance(tasks, TaskRegistry)
    assert tasks["proj.add"] is task
    assert tasks.get("nope") is None
    with pytest.raises(NotRegistered, match=r"no task 'proj.ad' here: did you mean 'proj.add'\?"):
        tasks["proj.ad"]
    with pytest.raises(KeyError, match="Is the module that defines it imported"):
        tasks["something.else"]
    tasks.unregister(task)
    with pytest.raises(NotRegistered):
        tasks.unregister("proj.add")
    with pytest.raises(ValueError, match="Nameless has no name"):
        tasks.register(type("Nameless", (Task,), {})())


# --- finalization ---------------------------------------------------------------------------------


def test_finalization_happens_once_and_tells(app: App) -> None:
    told: list[Any] = []
    app.on_after_finalize.connect(lambda sender, **_: told.append(sender), weak=False)
    assert not app.finalized
    assert all(name.startswith("celery.") for name in app.tasks)
    app.finalize()
    assert (app.finalized, told) == (True, [app])


def test_autofinalize_off() -> None:
    with new_app(autofinalize=False) as app:
        task = app.task(name="t")(plain)
        with pytest.raises(RuntimeError, match=r"autofinalize=False: call app\.finalize\(\)"):
            task.delay(1)
        with pytest.raises(RuntimeError):
            _ = app.tasks
        app.finalize()
        task.delay(1)


def test_on_bound_is_called_when_the_app_takes_the_task(app: App) -> None:
    bound: list[Any] = []

    class Base(Task[..., Any]):
        @classmethod
        def on_bound(cls, app: App) -> None:
            bound.append(app)

    app.task(name="t", base=Base)(plain)
    assert bound == []
    app.finalize()
    app.finalize()
    app.task(name="later", base=Base)(plain)
    assert bound == [app, app]


def test_annotations_change_attributes_and_wrap_methods() -> None:
    def shout(method: Any) -> Any:
        return lambda *args, **kwargs: f"{method(*args, **kwargs)}!"

    def on_failure(self: Any, *_: Any) -> None: ...

    annotations = {
        "*": {"rate_limit": "1/s", "on_failure": on_failure, "queue": "all"},
        "t": {"queue": "own", "@run": shout},
    }
    with new_app(task_annotations=annotations) as app:
        task = app.task(name="t")(lambda: "hey")
        task.delay()
        take_one(app, "own")
        assert (task.rate_limit, task.has_on_failure, task()) == ("1/s", True, "hey!")

    class Annotate:
        def annotate(self, task: Any) -> Any:
            return {"max_retries": 99} if task.name == "t" else None

    with new_app(task_annotations=[Annotate()]) as app:
        assert app.task(name="t")(plain) is app.tasks["t"]
        assert app.tasks["t"].max_retries == 99
    with new_app(task_annotations=[object()]) as app:
        app.task(name="t")(plain)
        with pytest.raises(ImproperlyConfigured, match="task_annotations: <object"):
            app.finalize()
        assert not app.finalized


# --- inside a run ---------------------------------------------------------------------------------


def test_request_outside_and_inside(app: App) -> None:
    task = app.task(name="t")(plain)
    assert task.request.id is None
    task.push_request(id="made up", retries=2)
    try:
        assert (task.request.id, task.request.retries) == ("made up", 2)
        assert app.current_task is task
    finally:
        task.pop_request()
    assert app.current_task is None
    assert context.current.get() is None


def test_a_task_called_inside_another_has_its_own_request(app: App) -> None:
    @app.task(name="inner")
    def inner(x: int) -> Any:
        return inner.request.args, inner.request.called_directly, app.current_worker_task

    @app.task(name="outer")
    def outer() -> Any:
        return outer.request.id, inner(5), outer.request.id

    outer_id, (args, directly, worker_task), again = outer.apply(task_id="o").get()
    assert (outer_id, args, directly, again) == ("o", (5,), True, "o")
    assert worker_task is None


def test_add_trail_and_async_result(app: App) -> None:
    task = app.task(name="t")(plain)
    context.push(task, Context())
    try:
        assert task.add_trail("r") == "r"
        assert task.request.children == ["r"]
    finally:
        context.pop()
    result = task.AsyncResult("some-id")
    assert (result.id, result.task_name, result.app) == ("some-id", "t", app)


# --- signatures and copies ------------------------------------------------------------------------


def test_signatures(app: App) -> None:
    task = app.task(name="t")(plain)
    signature = task.s(1, y=2)
    assert signature == {
        "task": "t",
        "args": (1,),
        "kwargs": {"y": 2},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert task.si(1)["immutable"] is True
    assert task.signature((1,), countdown=3)["options"] == {"countdown": 3}
    assert task.subtask((1,))["task"] == "t"
    signature.delay()
    assert take_one(app).message.kwargs == {"y": 2}
    assert app.signature("far", args=(1,)).app is app


def test_a_task_is_found_not_copied(app: App) -> None:
    app.set_current()
    task = app.task(name="t")(plain)
    assert pickle.loads(pickle.dumps(task)) is task
    assert copy.deepcopy(task) is task
    current.make_current(None)


def test_own_backend(app: App) -> None:
    task = app.task(name="t")(plain)
    assert task.backend is app.result_backend
    other = new_app().result_backend
    task.backend = other
    assert task.backend is other
    assert task.AsyncResult("i").backend is other
    assert task.delay(1).backend is other


def test_update_state_stores_custom_states(app: App) -> None:
    @app.task(name="t", bind=True)
    def task(self: Any) -> None:
        self.update_state(state="PROGRESS", meta={"done": 5})

    task.apply(task_id="i")
    result = task.AsyncResult("i")
    assert (result.state, result.info) == ("PROGRESS", {"done": 5})
    task.update_state("other", "STEP", 2)
    assert app.AsyncResult("other").state == "STEP"
    task.update_state(state="NOWHERE")  # no run, no id: nothing to store
    with new_app(backend="disabled") as silent:
        silent.task(name="t")(plain).update_state("i", "X")
