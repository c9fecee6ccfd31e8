"""A call, its run and its result, on every store: handles do what they say."""

from __future__ import annotations

import asyncio
import pickle
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.app.group_results import GroupResult
from umbel.app.handles import AsyncResult
from umbel.app.joining import allow_join_result
from umbel.app.result_sets import ResultSet
from umbel.app.result_trees import result_from_tuple
from umbel.drivers.opening import open_driver
from umbel.errors import IncompleteStream, JoinRefused, ResultTimeout, TaskRevokedError
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Queue
from umbel.testing.conformance.station import InThread, eventually, presence

LONG = 20.0


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return f"memory://{uuid.uuid4().hex}"
        case "sqlite":
            return f"sqlite:///{tmp_path}/umbel.sqlite3"
        case _:
            return str(request.getfixturevalue("redis_url"))


@pytest.fixture
def queue() -> str:
    return f"q-{uuid.uuid4().hex}"


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def app(url: str, queue: str, gate: threading.Event) -> Iterator[App]:
    app = App("results", broker=url, backend=url, task_default_queue=queue, result_extended=True)

    @app.task(name="results.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="results.fail")
    def fail(text: str) -> None:
        raise ValueError(text)

    @app.task(name="results.wait")
    def wait() -> str:
        assert gate.wait(LONG)
        return "opened"

    @app.task(name="results.progress", bind=True)
    def progress(self: Any) -> str:
        self.update_state(state="PROGRESS", meta={"done": 3})
        assert gate.wait(LONG)
        return "whole"

    @app.task(name="results.forgotten", ignore_result=True)
    def forgotten() -> int:
        return 1

    @app.task(name="results.impatient")
    def impatient() -> int:
        return int(add.delay(1, 2).get(timeout=LONG))

    @app.task(name="results.permitted")
    def permitted() -> str:
        with allow_join_result():
            done = AsyncResult("known-" + queue, app=app)
            return str(done.get(timeout=LONG))

    @app.task(name="results.parent")
    def parent() -> str:
        return str(add.delay(4, 5))

    yield app
    app.close()
    open_driver(url).broker().close()


@pytest.fixture
def worker(app: App, queue: str) -> Iterator[OneWorker]:
    with OneWorker(app, queue) as worker:
        yield worker


def send(app: App, name: str, *args: Any) -> AsyncResult[Any]:
    result: AsyncResult[Any] = app.tasks[f"results.{name}"].delay(*args)
    return result


pytestmark = pytest.mark.usefixtures("worker")


# --- one result -----------------------------------------------------------------------------------


def test_a_value_comes_back(app: App) -> None:
    result = send(app, "add", 2, 3)
    assert result.get(timeout=LONG) == 5
    assert (result.state, result.result, result.traceback) == ("SUCCESS", 5, None)
    assert result.ready()
    assert result.successful()
    assert not result.failed()


def test_a_value_that_is_already_there_comes_at_once(app: App) -> None:
    result = send(app, "add", 2, 3)
    eventually(result.ready)
    assert AsyncResult(result.id, app=app).get(timeout=LONG) == 5
    assert AsyncResult(result.id, app=app).get(timeout=0) == 5


def test_a_failure_is_raised_with_its_type_its_text_and_the_workers_traceback(app: App) -> None:
    result = send(app, "fail", "no good")
    with pytest.raises(ValueError, match="no good") as caught:
        result.get(timeout=LONG)
    assert "Traceback in the worker" in caught.value.__notes__[0]
    assert "raise ValueError(text)" in caught.value.__notes__[0]
    assert result.failed()
    assert isinstance(result.get(propagate=False), ValueError)
    assert "ValueError: no good" in str(result.traceback)


def test_a_failure_raised_again_does_not_grow(app: App) -> None:
    result = send(app, "fail", "no good")
    lengths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="no good") as caught:
            result.get(timeout=LONG)
        lengths.append(len(caught.traceback))
    assert lengths[1] == lengths[2]
    assert len(caught.value.__notes__) == 1


def test_a_run_that_takes_too_long(app: App, gate: threading.Event) -> None:
    result = send(app, "wait")
    with pytest.raises(
        ResultTimeout,
        match=rf"task results\.wait\[{result.id}\] was not finished after 0\.05 s; "
        r"the last known state is PENDING",
    ) as caught:
        result.get(timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    gate.set()
    assert result.get(timeout=LONG) == "opened"


def test_states_of_the_tasks_own_are_seen_on_the_way(app: App, gate: threading.Event) -> None:
    result = send(app, "progress")
    eventually(lambda: result.state == "PROGRESS")
    assert result.info == {"done": 3}
    assert not result.ready()
    with pytest.raises(ResultTimeout, match="the last known state is PROGRESS"):
        result.get(timeout=0.05)
    messages: list[str] = []
    waiting = InThread(
        lambda: result.get(timeout=LONG, on_message=lambda meta: messages.append(meta["status"]))
    )
    gate.set()
    assert waiting.result() == "whole"
    assert messages[-1] == "SUCCESS"


def test_what_is_stored_beside_the_value(app: App, queue: str) -> None:
    result = send(app, "add", 2, 3)
    result.get(timeout=LONG)
    read = AsyncResult(result.id, app=app)
    assert (read.name, read.args, read.kwargs) == ("results.add", [2, 3], {})
    assert (read.worker, read.retries, read.queue) == ("one@test", 0, queue)
    assert read.date_done is not None
    assert abs(read.date_done - datetime.now(UTC)) < timedelta(minutes=1)
    assert read.children == []
    assert read.exists()


def test_forgetting(app: App) -> None:
    result = send(app, "add", 2, 3)
    result.get(timeout=LONG)
    result.forget()
    assert result.state == "PENDING"
    assert not result.exists()


def test_an_ignored_result_is_none_at_once(app: App) -> None:
    assert send(app, "forgotten").get(timeout=LONG) is None


def test_a_revoked_run_raises(app: App) -> None:
    task_id = uuid.uuid4().hex
    document = (
        '{"status": "REVOKED", "result": {"exc_type": "TaskRevokedError", "exc_message": '
        '["revoked"], "exc_module": "celery.exceptions"}, "traceback": null, "task_id": "%s"}'
    )
    record = ResultRecord(
        task_id=task_id, state="REVOKED", document=(document % task_id).encode(), final=True
    )
    app.result_backend.store([record])
    result = AsyncResult(task_id, app=app)
    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=LONG)
    assert (result.ready(), result.successful(), result.failed()) == (True, False, False)


def test_revoking_is_kept_by_the_broker(app: App, queue: str) -> None:
    result = app.AsyncResult(uuid.uuid4().hex)
    result.revoke(terminate=True, signal="SIGKILL")
    others = ResultSet([app.AsyncResult(uuid.uuid4().hex) for _ in range(2)], app=app)
    others.revoke()
    consumer = app.broker.open_consumer([Queue(name=queue)], presence=presence(), lease=30)
    assert not consumer.receive(0, 0)
    revoked = {one.task_id: one for one in consumer.revocations()}
    consumer.close()
    assert revoked[result.id].terminate
    assert revoked[result.id].signal == "SIGKILL"
    assert {one.id for one in others} <= set(revoked)


def test_waiting_inside_a_task_is_refused(app: App) -> None:
    with pytest.raises(JoinRefused, match="never wait for a result inside a task") as caught:
        send(app, "impatient").get(timeout=LONG)
    assert isinstance(caught.value, RuntimeError)


def test_waiting_inside_a_task_may_be_permitted(app: App, queue: str) -> None:
    app.tasks["results.add"].apply_async((1, 1), task_id="known-" + queue).get(timeout=LONG)
    assert send(app, "permitted").get(timeout=LONG) == "2"


def test_children_are_found_from_their_parent(app: App) -> None:
    result = send(app, "parent")
    child_id = result.get(timeout=LONG)
    assert [str(one) for one in result.children or ()] == [child_id]
    AsyncResult(child_id, app=app).get(timeout=LONG)
    assert [value for _, value in result.collect()] == [child_id, 9]
    assert result.get_leaf() == 9


def test_the_tree_of_a_run_that_is_not_over(app: App, gate: threading.Event) -> None:
    result = send(app, "wait")
    with pytest.raises(IncompleteStream):
        list(result.iterdeps())
    assert list(result.iterdeps(intermediate=True)) == [(None, result)]
    gate.set()


def test_a_parents_failure_ends_the_wait_for_its_child(app: App) -> None:
    parent = send(app, "fail", "no good")
    child: AsyncResult[Any] = AsyncResult(uuid.uuid4().hex, app=app, parent=parent)
    with pytest.raises(ValueError, match="no good"):
        child.get(timeout=LONG)
    with pytest.raises(ResultTimeout):
        child.get(timeout=0.05, follow_parents=False)


def test_a_handle_that_was_pickled_finds_its_result(app: App) -> None:
    result = send(app, "add", 2, 3)
    copied = pickle.loads(pickle.dumps(result))
    assert copied == result == result.id
    assert copied.get(timeout=LONG) == 5


def test_then(app: App) -> None:
    heard: list[Any] = []
    done = threading.Event()
    result = send(app, "add", 2, 3)

    def hear(one: AsyncResult[Any]) -> None:
        heard.append(one.get())
        done.set()

    result.then(hear)
    assert done.wait(LONG)
    assert heard == [5]


def test_awaiting(app: App) -> None:
    async def main() -> list[Any]:
        results = [await app.tasks["results.add"].adelay(number, 1) for number in range(5)]
        return list(await asyncio.gather(*results))

    assert asyncio.run(main()) == [1, 2, 3, 4, 5]


def test_awaiting_ends_in_time_and_raises(app: App, gate: threading.Event) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="no good"):
            await send(app, "fail", "no good")
        result = send(app, "wait")
        with pytest.raises(ResultTimeout, match=result.id):
            await result.aget(timeout=0.05)
        gate.set()
        assert await result.aget(timeout=LONG) == "opened"

    asyncio.run(main())


# --- several --------------------------------------------------------------------------------------


def test_a_set_gives_values_in_order(app: App) -> None:
    results = app.tasks["results.add"].send_many((number, 1) for number in range(50))
    assert results.get(timeout=LONG) == list(range(1, 51))
    assert results.join(timeout=LONG) == list(range(1, 51))
    assert results.ready()
    assert results.successful()
    assert not results.waiting()
    assert results.completed_count() == 50


def test_a_set_gives_values_as_they_come(app: App, gate: threading.Event) -> None:
    slow = send(app, "wait")
    fast = app.AsyncResult(uuid.uuid4().hex)
    results = ResultSet([slow, fast], app=app)
    values = results.iterate(timeout=LONG)
    document = b'{"status": "SUCCESS", "result": "fast", "traceback": null, "children": []}'
    record = ResultRecord(task_id=fast.id, state="SUCCESS", document=document, final=True)
    app.result_backend.store([record])
    assert next(values) == "fast"
    assert results.completed_count() == 1
    assert results.waiting()
    gate.set()
    assert list(values) == ["opened"]


def test_a_set_raises_the_first_failure_or_gives_it_among_the_values(app: App) -> None:
    results = ResultSet([send(app, "add", 1, 1), send(app, "fail", "no good")], app=app)
    with pytest.raises(ValueError, match="no good"):
        results.get(timeout=LONG)
    value, error = results.get(timeout=LONG, propagate=False)
    assert value == 2
    assert isinstance(error, ValueError)
    assert results.failed()
    assert results.completed_count() == 1


def test_a_set_with_a_callback(app: App) -> None:
    results = app.tasks["results.add"].send_many([(1, 1), (2, 2)])
    told: list[Any] = []
    assert (
        results.get(timeout=LONG, callback=lambda name, value: told.append((name, value))) is None
    )
    assert sorted(told, key=lambda one: int(one[1])) == [(results[0].id, 2), (results[1].id, 4)]
    told.clear()
    assert results.join(timeout=LONG, callback=lambda _, value: told.append(value)) == []
    assert told == [2, 4]


def test_a_set_that_takes_too_long_tells_who_is_missing(app: App, gate: threading.Event) -> None:
    done, slow = send(app, "add", 1, 1), send(app, "wait")
    done.get(timeout=LONG)
    with pytest.raises(
        ResultTimeout, match=rf"the 2 results were not finished .* 1 of 2 are over, {slow.id}"
    ):
        ResultSet([done, slow], app=app).get(timeout=0.05)
    gate.set()


def test_a_set_is_awaited_and_walked_asynchronously(app: App) -> None:
    async def main() -> None:
        results = app.tasks["results.add"].send_many((number, 1) for number in range(10))
        assert sorted([value async for value in results]) == list(range(1, 11))
        again = ResultSet([app.AsyncResult(one.id) for one in results], app=app)
        assert await again == list(range(1, 11))

    asyncio.run(main())


def test_a_group_is_saved_and_found_again(app: App) -> None:
    members = app.tasks["results.add"].send_many([(1, 1), (2, 2)])
    group: GroupResult[int] = GroupResult(uuid.uuid4().hex, members.results, app=app)
    group.save()
    found = GroupResult.restore(str(group.id), app=app)
    assert found == group
    assert found is not None
    assert found.get(timeout=LONG) == [2, 4]
    assert result_from_tuple(group.as_tuple(), app=app) == group
    group.delete()
    assert GroupResult.restore(str(group.id), app=app) is None


def test_a_group_within_a_set(app: App) -> None:
    inner: GroupResult[int] = GroupResult(
        "inner", app.tasks["results.add"].send_many([(1, 1), (2, 2)]).results, app=app
    )
    results = ResultSet([inner, send(app, "add", 3, 3)], app=app)
    assert results.get(timeout=LONG) == [[2, 4], 6]
    assert results.successful()


def test_a_stream_of_handles_is_sent_as_it_is_consumed(app: App) -> None:
    taken: list[int] = []

    def calls() -> Iterator[tuple[int, int]]:
        for number in range(10):
            taken.append(number)
            yield number, 1

    stream = app.tasks["results.add"].send_stream(calls(), chunk_size=2)
    assert taken == []
    first = next(stream)
    assert taken == [0, 1]
    assert first.get(timeout=LONG) == 1
    assert [one.get(timeout=LONG) for one in stream] == list(range(2, 11))


def test_many_threads_wait_at_once(app: App) -> None:
    def call(number: int) -> list[int]:
        return [send(app, "add", number, other).get(timeout=LONG) for other in range(10)]

    calls = [InThread(partial(call, number)) for number in range(8)]
    for number, one in enumerate(calls):
        assert one.result() == [number + other for other in range(10)]
