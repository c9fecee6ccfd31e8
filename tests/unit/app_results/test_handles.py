"""Handles where nothing is stored, stored wrongly, or not to be had; eager ones; refusals."""

from __future__ import annotations

import asyncio
import copy
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from umbel.app import context, joining
from umbel.app.app import App
from umbel.app.context import Context
from umbel.app.eager_results import EagerResult
from umbel.app.group_results import GroupResult
from umbel.app.handles import AsyncResult
from umbel.app.joining import allow_join_result, assert_will_not_block, denied_join_result
from umbel.app.result_sets import ResultSet
from umbel.app.result_trees import result_from_tuple
from umbel.drivers.memory import MemoryDriver
from umbel.errors import (
    BackendGetMetaError,
    DecodeError,
    JoinRefused,
    NoResultBackend,
    ResultTimeout,
    TaskError,
    TaskRevokedError,
    UsageError,
)
from umbel.model.message import TaskMessage
from umbel.model.outcome import ResultRecord
from umbel.testing.conformance.station import eventually


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    app = App("handles", broker=url, backend=url)
    yield app
    app.close()


def store(app: App, task_id: str, document: bytes, state: str = "SUCCESS") -> AsyncResult[Any]:
    record = ResultRecord(
        task_id=task_id, state=state, document=document, final=state in ("SUCCESS", "FAILURE")
    )
    app.result_backend.store([record])
    return app.AsyncResult(task_id)


def success(app: App, task_id: str, value: str) -> AsyncResult[Any]:
    return store(app, task_id, b'{"status": "SUCCESS", "result": %s}' % value.encode())


# --- one result -----------------------------------------------------------------------------------


def test_an_id_is_needed() -> None:
    with pytest.raises(ValueError, match="needs the id of its task"):
        AsyncResult(None)  # type: ignore[arg-type]  # what the test is about


def test_without_a_backend_the_error_says_what_to_set() -> None:
    app = App("none", broker=f"memory://{uuid.uuid4().hex}", profile="celery", set_as_current=False)
    result = app.AsyncResult("id")
    for ask in (lambda: result.get(timeout=1), lambda: result.state, result.forget, result.ready):
        with pytest.raises(NoResultBackend, match="set result_backend") as caught:
            ask()
        assert isinstance(caught.value, NotImplementedError)
    with pytest.raises(NoResultBackend):
        ResultSet([result], app=app).get(timeout=1)


def test_nothing_stored_is_pending(app: App) -> None:
    result = app.AsyncResult("id")
    assert (result.state, result.status, result.result, result.info) == (
        "PENDING",
        "PENDING",
        None,
        None,
    )
    assert (result.ready(), result.successful(), result.failed()) == (False, False, False)
    assert (result.exists(), result.children, result.date_done) == (False, None, None)


def test_final_results_are_read_once(app: App) -> None:
    result = success(app, "id", "5")
    assert result.state == "SUCCESS"
    app.result_backend.forget(["id"])
    assert result.get(timeout=1) == 5
    assert result.exists()


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"not json", DecodeError),
        (b"[1, 2]", BackendGetMetaError),
        (b'{"result": 5}', BackendGetMetaError),
    ],
)
def test_documents_that_cannot_be_read(app: App, document: bytes, error: type[Exception]) -> None:
    result = store(app, "id", document)
    with pytest.raises(error):
        result.get(timeout=1)
    with pytest.raises(error):
        _ = result.state


def test_a_failure_whose_class_is_not_known_here(app: App) -> None:
    document = (
        b'{"status": "FAILURE", "traceback": "Traceback ...", "result": '
        b'{"exc_type": "Strange", "exc_message": ["odd"], "exc_module": "no.such.module"}}'
    )
    with pytest.raises(TaskError, match="odd") as caught:
        store(app, "id", document, "FAILURE").get(timeout=1)
    assert type(caught.value).__name__ == "Strange"


def test_a_failure_that_is_no_exception(app: App) -> None:
    result = store(app, "id", b'{"status": "FAILURE", "result": "odd"}', "FAILURE")
    with pytest.raises(TaskError, match="odd"):
        result.get(timeout=1)


def test_throwing(app: App) -> None:
    with pytest.raises(KeyError, match="mine"):
        app.AsyncResult("id").throw(KeyError("mine"))
    assert success(app, "other", "5").maybe_throw() == 5


def test_a_callback_gets_id_and_value(app: App) -> None:
    told: list[Any] = []
    success(app, "id", "5").get(timeout=1, callback=lambda *args: told.append(args))
    assert told == [("id", 5)]


def test_what_is_called_while_waiting(app: App) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            success(app, "id", "5")

    assert app.AsyncResult("id").get(timeout=20, interval=0.01, on_interval=tick) == 5
    assert len(ticks) >= 3


def test_handles_are_equal_by_id(app: App) -> None:
    one, same, other = app.AsyncResult("a"), AsyncResult("a"), app.AsyncResult("b")
    assert one == same
    assert "a" in [one]
    assert one != other
    assert one != 3
    assert len({one, same, other}) == 2
    assert (str(one), repr(one), one.task_id) == ("a", "<AsyncResult: a>", "a")


def test_handles_are_copied_with_their_app_and_pickled_without(app: App) -> None:
    one = AsyncResult[int]("a", task_name="add", app=app, parent=AsyncResult("p"))
    copied, travelled = copy.copy(one), pickle.loads(pickle.dumps(one))
    assert copied.app is app
    assert (str(copied.parent), str(travelled.parent)) == ("p", "p")
    assert travelled.task_name == "add"
    assert travelled.app is app, "the current one"


def test_tuples(app: App) -> None:
    one = app.AsyncResult("a", parent=app.AsyncResult("p"))
    assert one.as_tuple() == (("a", (("p", None), None)), None)
    assert one.as_list() == ["a", "p"]
    read = result_from_tuple([["a", [["p", None], None]], None], app=app)
    assert (read, read.parent) == (one, one.parent)
    group = result_from_tuple([["g", None], [[["a", None], None], [["b", None], None]]], app=app)
    assert isinstance(group, GroupResult)
    assert [one.id for one in group] == ["a", "b"]
    assert result_from_tuple(one) is one
    assert result_from_tuple("plain", app=app) == "plain"


def test_forgetting_takes_the_parents_along(app: App) -> None:
    parent = success(app, "p", "1")
    success(app, "a", "2")
    app.AsyncResult("a", parent=parent).forget()
    assert not app.result_backend.fetch(["a", "p"])


def test_a_backend_of_its_own(app: App) -> None:
    backend = MemoryDriver().result_backend()
    record = ResultRecord(
        task_id="a", state="SUCCESS", document=b'{"status": "SUCCESS", "result": 7}', final=True
    )
    backend.store([record])
    result: AsyncResult[int] = AsyncResult("a", backend=backend, app=app)
    assert result.get(timeout=1) == 7
    assert result.backend is backend
    elsewhere: AsyncResult[int] = AsyncResult("b", backend=backend, app=app)
    with pytest.raises(UsageError, match="different result backends"):
        ResultSet([elsewhere, app.AsyncResult("c")]).get(timeout=1)


def test_cancelling_an_await_leaves_nothing_behind(app: App) -> None:
    async def main() -> None:
        result = app.AsyncResult("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await result
        success(app, "a", "5")
        assert await result == 5

    asyncio.run(main())
    assert not app.results._asked


# --- several --------------------------------------------------------------------------------------


def test_membership(app: App) -> None:
    a, b, c = (app.AsyncResult(name) for name in "abc")
    results = ResultSet([a], app=app)
    results.add(b)
    results.add(b)
    results.update([b, c])
    assert [one.id for one in results] == ["a", "b", "c"]
    assert (len(results), results[1], results.children) == (3, b, [a, b, c])
    results.remove("a")
    results.discard("nobody")
    assert results.results == [b, c]
    with pytest.raises(KeyError):
        results.remove("nobody")
    results.clear()
    assert len(results) == 0
    assert results.get(timeout=1) == []
    assert ResultSet([a]) == ResultSet([app.AsyncResult("a")])
    with pytest.raises(TypeError, match="a ResultSet has no hash"):
        hash(results)


def test_the_same_run_twice_in_a_set(app: App) -> None:
    success(app, "a", "5")
    assert ResultSet([app.AsyncResult("a"), app.AsyncResult("a")]).get(timeout=1) == [5, 5]


def test_a_set_with_eager_and_ignored_members(app: App) -> None:
    ignored = app.AsyncResult("never")
    ignored.ignored = True
    eager: EagerResult[int] = EagerResult("e", 3, "SUCCESS")
    results = ResultSet([success(app, "a", "5"), eager, ignored], app=app)
    assert results.get(timeout=1) == [5, 3, None]


def test_documents_as_they_come(app: App) -> None:
    results = ResultSet([success(app, "a", "5"), success(app, "b", "6")], app=app)
    documents = dict(results.iter_native(timeout=1))
    assert {name: meta["result"] for name, meta in documents.items()} == {"a": 5, "b": 6}


def test_throwing_the_first_failure(app: App) -> None:
    document = b'{"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": ["no"]}}'
    results = ResultSet([success(app, "a", "5"), store(app, "b", document, "FAILURE")], app=app)
    with pytest.raises(Exception, match="no"):
        results.maybe_throw()
    assert results.failed()
    results.forget()
    assert results.waiting()


def test_a_set_tells_when_all_are_over(app: App) -> None:
    told: list[Any] = []
    ResultSet([success(app, "a", "5"), EagerResult("e", 3, "SUCCESS")], app=app).then(told.append)
    eventually(lambda: told)


def test_groups(app: App) -> None:
    group: GroupResult[int] = GroupResult("g", [app.AsyncResult("a")], app=app)
    assert group
    assert not GroupResult(app=app)
    assert group == "g"
    assert len({group, GroupResult("g", [app.AsyncResult("a")])}) == 1
    assert (str(group), repr(group)) == ("g", "<GroupResult: g [a]>")
    assert pickle.loads(pickle.dumps(group)) == group
    app.result_backend.store_group("broken", b'{"nothing": 1}', None)
    with pytest.raises(BackendGetMetaError, match="what is saved as group broken is not a group"):
        GroupResult.restore("broken", app=app)


# --- eager ----------------------------------------------------------------------------------------


def test_an_eager_value() -> None:
    told: list[Any] = []
    result: EagerResult[int] = EagerResult("e", 3, "SUCCESS", name="add")
    assert result.get() == 3
    assert asyncio.run(result.aget()) == 3
    assert (result.ready(), result.successful(), result.failed()) == (True, True, False)
    assert (result.state, result.result, result.children) == ("SUCCESS", 3, [])
    result.then(told.append)
    result.forget()
    assert told == [result] == ["e"]
    assert pickle.loads(pickle.dumps(result)).get() == 3


def test_an_eager_failure() -> None:
    result: EagerResult[int] = EagerResult("e", ValueError("no"), "FAILURE", traceback="Trace")
    with pytest.raises(ValueError, match="no"):
        result.get()
    with pytest.raises(ValueError, match="no"):
        result.maybe_throw()
    assert isinstance(result.get(propagate=False), ValueError)
    assert (result.failed(), result.traceback) == (True, "Trace")


def test_an_eager_run_that_is_revoked_afterwards() -> None:
    result: EagerResult[int] = EagerResult("e", 3, "SUCCESS")
    result.revoke()
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        result.get()


# --- waiting inside a task ------------------------------------------------------------------------


@pytest.fixture
def in_a_task() -> Iterator[None]:
    message = TaskMessage(id="running", task="outer")
    context.push(object(), Context.from_message(message))
    yield
    context.pop()


@pytest.mark.usefixtures("in_a_task")
def test_a_task_that_waits_is_refused(app: App) -> None:
    result = success(app, "a", "5")
    with pytest.raises(JoinRefused, match="never wait for a result inside a task"):
        result.get(timeout=1)
    with pytest.raises(RuntimeError):
        ResultSet([result], app=app).get(timeout=1)
    assert result.get(timeout=1, disable_sync_subtasks=False) == 5
    with allow_join_result():
        assert result.get(timeout=1) == 5
        with denied_join_result(), pytest.raises(JoinRefused):
            assert_will_not_block()
    assert joining.task_join_will_block()


@pytest.mark.usefixtures("in_a_task")
def test_where_slots_are_cheap_tasks_may_wait(app: App) -> None:
    joining.let_tasks_join()
    try:
        assert success(app, "a", "5").get(timeout=1) == 5
    finally:
        joining.let_tasks_join(False)


@pytest.mark.usefixtures("in_a_task")
def test_a_task_may_await(app: App) -> None:
    async def main() -> int:
        return int(await success(app, "a", "5"))

    assert asyncio.run(main()) == 5


def test_elsewhere_waiting_is_allowed_unless_denied(app: App) -> None:
    result = success(app, "a", "5")
    assert result.get(timeout=1) == 5
    with denied_join_result(), pytest.raises(JoinRefused):
        result.get(timeout=1)
    with pytest.raises(ResultTimeout):
        app.AsyncResult("never").get(timeout=0)
