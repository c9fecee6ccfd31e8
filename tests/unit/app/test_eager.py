from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from umbel.app import signals
from umbel.app.app import App
from umbel.app.eager_results import EagerResult
from umbel.errors import EncodeError, Ignore, Reject, Retry

from .conftest import new_app
from .mailbox import take, take_one, waiting


@pytest.fixture
def eager() -> Iterator[App]:
    with new_app(task_always_eager=True) as app:
        yield app


def test_apply_runs_here(app: App) -> None:
    @app.task(name="t", bind=True)
    def task(self: Any, x: int) -> Any:
        return x, self.request.id, self.request.is_eager, self.request.called_directly

    result = task.apply((1,), task_id="i", countdown=3600)
    assert isinstance(result, EagerResult)
    assert result.get() == (1, "i", True, False)
    assert (result.state, result.id) == ("SUCCESS", "i")
    assert waiting(app) == (0, 0)


def test_failures_stay_in_the_result_unless_thrown(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        raise ValueError("no")

    result = task.apply()
    assert (result.state, type(result.result)) == ("FAILURE", ValueError)
    assert "ValueError: no" in (result.traceback or "")
    with pytest.raises(ValueError, match="no"):
        result.get()
    with pytest.raises(ValueError, match="no"):
        task.apply(throw=True)
    app.conf.task_eager_propagates = True
    with pytest.raises(ValueError, match="no"):
        task.apply()
    assert task.apply(throw=False).state == "FAILURE"


def test_coroutine_tasks_run_to_their_end(app: App) -> None:
    @app.task(name="t")
    async def task(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert task.apply((1,)).get() == 2

    async def inside_a_loop() -> int:
        return task.apply((2,)).get()

    assert asyncio.run(inside_a_loop()) == 3


def test_wrong_arguments_are_wrong_here_too(app: App) -> None:
    with pytest.raises(TypeError, match="missing a required argument"):
        app.task(name="t")(lambda x: x).apply()


def test_ignore_and_reject(app: App) -> None:
    @app.task(name="t")
    def task(how: str) -> None:
        raise {"ignore": Ignore(), "reject": Reject("bad"), "requeue": Reject("bad", True)}[how]

    assert [task.apply((how,)).state for how in ("ignore", "reject", "requeue")] == [
        "IGNORED",
        "FAILURE",
        "REJECTED",
    ]


def test_signals_and_hooks_of_a_run(app: App) -> None:
    heard: list[str] = []
    names = ["task_prerun", "task_success", "task_postrun"]
    receivers = {
        name: getattr(signals, name).connect(
            lambda signal, **_: heard.append(signal.name), weak=False, dispatch_uid=name
        )
        for name in names
    }
    try:
        app.task(name="t")(lambda: None).apply()
    finally:
        for name in receivers:
            getattr(signals, name).disconnect(dispatch_uid=name)
    assert heard == names


# --- always eager ---------------------------------------------------------------------------------


def test_every_call_runs_here(eager: App) -> None:
    @eager.task(name="t")
    def task(x: Any) -> Any:
        return x

    assert task.delay(1).get() == 1
    assert task.apply_async((2,), countdown=60, queue="q", expires=1).get() == 2
    assert asyncio.run(task.adelay(3)).get() == 3
    assert waiting(eager) == (0, 0)


def test_arguments_go_through_the_serializer_once(eager: App) -> None:
    @eager.task(name="t")
    def task(x: Any) -> Any:
        return x

    assert task.delay((1, {2: 3})).get() == [1, {"2": 3}]
    assert task.apply_async(((1,),), serializer="pickle").get() == (1,)
    assert task.apply(((1,),)).get() == (1,)  # apply does not
    with pytest.raises(EncodeError):
        task.delay({1, 2})


def test_callbacks_run_here_too(eager: App) -> None:
    heard: list[Any] = []

    @eager.task(name="note")
    def note(*args: Any) -> None:
        heard.append(args)

    @eager.task(name="t")
    def task(x: int) -> int:
        return x * 2

    task.apply_async((4,), link=[note.s(), note.s("extra"), note.si("alone")])
    assert heard == [(8,), (8, "extra"), ("alone",)]


def test_callbacks_of_apply_are_sent(app: App) -> None:
    task = app.task(name="t")(lambda x: x * 2)
    task.apply((4,), link=task.s())
    assert list(take_one(app).message.args) == [8]
    assert task.apply((4,), link={"task": "far", "args": [1]}).get() == 8
    assert list(take_one(app).message.args) == [8, 1]


def test_errbacks_by_id_are_sent_and_others_called_here(app: App) -> None:
    heard: list[Any] = []

    @app.task(name="by_id")
    def by_id(task_id: str) -> None: ...

    @app.task(name="here")
    def here(request: Any, exc: Exception, traceback: str) -> None:
        heard.append((request.id, str(exc), "ValueError: no" in traceback))

    @app.task(name="t")
    def task() -> None:
        raise ValueError("no")

    task.apply(task_id="i", link_error=[by_id.s(), here.s()], link=by_id.s())
    assert heard == [("i", "no", True)]
    sent = take_one(app).message
    assert (sent.task, list(sent.args)) == ("by_id", ["i"])


def test_results_are_stored_where_that_is_wanted(app: App) -> None:
    task = app.task(name="t", store_eager_result=True)(lambda x: x)
    task.apply((5,), task_id="i")
    assert app.AsyncResult("i").get(timeout=1) == 5
    app.conf.task_store_eager_result = True
    app.conf.result_extended = True
    app.task(name="u")(lambda x: x).apply((6,), task_id="j")
    stored = app.AsyncResult("j")
    assert (stored.result, stored.name, stored.args) == (6, "u", [6])
    task.apply((5,), task_id="k", ignore_result=True)
    assert app.AsyncResult("k").state == "PENDING"


# --- retries --------------------------------------------------------------------------------------


def test_retries_run_at_once(app: App) -> None:
    tries: list[Any] = []

    @app.task(name="t", bind=True, max_retries=5)
    def task(self: Any, x: int) -> int:
        tries.append((x, self.request.retries, self.request.id))
        if len(tries) < 3:
            raise self.retry(args=(x + 1,), countdown=3600)
        return x

    assert task.apply((1,), task_id="i").get() == 3
    assert tries == [(1, 0, "i"), (2, 1, "i"), (3, 2, "i")]
    assert waiting(app) == (0, 0)


def test_automatic_retries_until_there_are_none_left(app: App) -> None:
    tries: list[int] = []

    @app.task(name="t", autoretry_for=(OSError,), max_retries=2, retry_backoff=True)
    def task() -> None:
        tries.append(1)
        raise OSError("down")

    result = task.apply()
    assert (result.state, str(result.result), len(tries)) == ("FAILURE", "down", 3)


def test_a_replacement_runs_in_its_place(app: App) -> None:
    @app.task(name="real")
    def real(x: int) -> int:
        return x * 10

    @app.task(name="t", bind=True)
    def task(self: Any, x: int) -> Any:
        raise self.replace(real.s(x))

    result = task.apply((4,), task_id="i")
    assert (result.get(), result.id) == (40, "i")


def test_retry_without_throwing_runs_at_once(app: App) -> None:
    @app.task(name="t", bind=True)
    def task(self: Any) -> str:
        heard.append(self.request.retries)
        if self.request.retries:
            return "again"
        retry = self.retry(throw=False)
        assert isinstance(retry, Retry)
        return "went on"

    heard: list[int] = []
    assert task.apply().get() == "went on"
    assert heard == [0, 1]


def test_nothing_is_left_in_the_queue(app: App) -> None:
    app.task(name="t")(lambda: None).apply()
    assert take(app) == []
