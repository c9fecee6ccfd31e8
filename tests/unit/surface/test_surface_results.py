"""Results: handles, sets, eager results, states, row by row."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.app.conftest import new_app
from umbel.app.app import App
from umbel.app.celery_app import Celery
from umbel.app.eager_results import EagerResult
from umbel.app.group_results import GroupResult
from umbel.app.handles import AsyncResult
from umbel.app.joining import allow_join_result, assert_will_not_block, denied_join_result
from umbel.app.result_sets import ResultSet
from umbel.app.result_trees import ResultBase, result_from_tuple
from umbel.errors import (
    IncompleteStream,
    JoinRefused,
    NoResultBackend,
    ResultTimeout,
    TaskRevokedError,
)
from umbel.model import outcome

PATIENCE = 20


class Desk:
    """Tasks that end in every way."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.add: Any = app.task(name="add")(lambda x, y: x + y)
        self.fail: Any = app.task(name="fail")(fail)

    def ended(self, *results: Any) -> None:
        with OneWorker(self.app, "celery"):
            for one in results:
                one.get(timeout=PATIENCE, propagate=False)


def fail(text: str) -> None:
    raise LookupError(text)


@pytest.fixture
def desk(app: App) -> Desk:
    return Desk(app)


# --- AsyncResult ----------------------------------------------------------------------------------


def test_id_and_task_id(app: App) -> None:
    result = app.AsyncResult("i")
    assert (result.id, result.task_id, str(result)) == ("i", "i", "i")
    with pytest.raises(ValueError, match="a result needs the id of its task"):
        app.AsyncResult(None)


def test_state_status_result_info_traceback(desk: Desk) -> None:
    good, bad = desk.add.delay(2, 3), desk.fail.delay("no")
    assert (good.state, good.status, good.result) == ("PENDING", "PENDING", None)
    desk.ended(good, bad)
    assert (good.state, good.status, good.result, good.info) == ("SUCCESS", "SUCCESS", 5, 5)
    assert good.traceback is None
    assert (bad.state, repr(bad.result)) == ("FAILURE", "LookupError('no')")
    assert bad.traceback.startswith("Traceback (most recent call last):")


def test_state_without_a_backend_says_what_to_set() -> None:
    with Celery("x", broker="memory://") as app:
        result = app.task(name="t")(len).delay([])
        for read in (lambda: result.state, result.get, result.ready):
            with pytest.raises(NoResultBackend, match="set result_backend"):
                read()


def test_get_raises_what_the_task_raised_unless_told_not_to(desk: Desk) -> None:
    bad = desk.fail.delay("no")
    desk.ended(bad)
    with pytest.raises(LookupError, match="no"):
        bad.get()
    assert isinstance(bad.get(propagate=False), LookupError)
    with pytest.raises(LookupError):
        bad.wait()


def test_get_timeout_says_what_is_known(desk: Desk) -> None:
    result = desk.add.delay(1, 1)
    with pytest.raises(ResultTimeout, match=rf"add\[{result.id}\].*0\.01.*PENDING") as caught:
        result.get(timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, AsyncResult.TimeoutError)


def test_get_with_callback_on_message_on_interval(desk: Desk) -> None:
    told: list[Any] = []
    result = desk.add.delay(1, 1)
    with OneWorker(desk.app, "celery"):
        result.get(
            timeout=PATIENCE,
            interval=0.01,
            no_ack=True,
            callback=lambda task_id, value: told.append((task_id, value)),
            on_message=lambda document: told.append(document["status"]),
            on_interval=lambda: None,
        )
    assert told == ["SUCCESS", (result.id, 2)]


def test_get_inside_a_task_is_refused_unless_permitted(desk: Desk) -> None:
    done = desk.add.delay(1, 1)
    desk.ended(done)

    @desk.app.task(name="waits")
    def waits(how: str) -> Any:
        other = desk.app.AsyncResult(done.id)
        if how == "plain":
            return other.get(timeout=1)
        if how == "option":
            return other.get(timeout=1, disable_sync_subtasks=False)
        with allow_join_result():
            return other.get(timeout=1)

    plain, option, block = (waits.delay(how) for how in ("plain", "option", "block"))
    desk.ended(plain, option, block)
    assert isinstance(plain.result, JoinRefused)
    assert isinstance(plain.result, RuntimeError)
    assert "never wait for a result inside a task" in str(plain.result)
    assert (option.result, block.result) == (2, 2)


def test_get_of_an_ignored_result_is_none(desk: Desk) -> None:
    result = desk.add.apply_async((1, 1), ignore_result=True)
    assert (result.get(), result.ignored) == (None, True)


def test_get_follows_a_failed_parent(desk: Desk) -> None:
    parent = desk.fail.delay("first")
    desk.ended(parent)
    child = AsyncResult[Any]("never", app=desk.app, parent=parent)
    parent.get(propagate=False)
    with pytest.raises(LookupError, match="first"):
        child.get(timeout=PATIENCE)
    assert (child.parent, child.as_list()) == (parent, ["never", parent.id])


def test_ready_successful_failed(desk: Desk) -> None:
    good, bad = desk.add.delay(1, 1), desk.fail.delay("no")
    assert (good.ready(), good.successful(), good.failed()) == (False, False, False)
    desk.ended(good, bad)
    assert (good.ready(), good.successful(), good.failed()) == (True, True, False)
    assert (bad.ready(), bad.successful(), bad.failed()) == (True, False, True)


def test_exists_tells_pending_from_unknown(desk: Desk) -> None:
    result = desk.add.delay(1, 1)
    assert not result.exists()
    desk.ended(result)
    assert desk.app.AsyncResult(result.id).exists()


def test_forget(desk: Desk) -> None:
    result = desk.add.delay(1, 1)
    desk.ended(result)
    result.forget()
    assert (result.state, result.exists()) == ("PENDING", False)


def test_revoke_reaches_the_broker(desk: Desk) -> None:
    desk.add.delay(1, 1).revoke(terminate=True, signal="SIGKILL", wait=False, timeout=1)


def test_children_collect_iterdeps_get_leaf(desk: Desk) -> None:
    @desk.app.task(name="parent")
    def parent() -> str:
        return str(desk.add.apply_async((1, 1), queue="later").id)

    result = parent.delay()
    desk.ended(result)
    (child,) = result.children or [None]
    assert child.id == result.get()
    with pytest.raises(IncompleteStream, match="is not finished"):
        list(result.iterdeps())
    with OneWorker(desk.app, "later"):
        walked = [(node.id, value) for node, value in result.collect(timeout=PATIENCE)]
    assert walked == [(result.id, child.id), (child.id, 2)]
    assert [above for above, _ in result.iterdeps(intermediate=True)] == [None, result]
    assert result.get_leaf() == 2


def test_then(desk: Desk) -> None:
    told: list[Any] = []
    result = desk.add.delay(1, 1)
    result.then(lambda one: told.append(one.result))
    desk.ended(result)
    result.then(told.append)
    assert result in told


def test_maybe_throw_throw_maybe_reraise(desk: Desk) -> None:
    bad = desk.fail.delay("no")
    assert bad.maybe_throw() is None
    desk.ended(bad)
    for raises in (bad.maybe_throw, bad.maybe_reraise, bad.throw):
        with pytest.raises(LookupError):
            raises()


def test_as_tuple_as_list_result_from_tuple(app: App) -> None:
    result = AsyncResult[Any]("i", app=app, parent=AsyncResult("p", app=app))
    assert result.as_tuple() == (("i", (("p", None), None)), None)
    again = result_from_tuple(result.as_tuple(), app=app)
    assert (again, again.parent.id, result.as_list()) == (result, "p", ["i", "p"])


def test_extended_metadata() -> None:
    with new_app(result_extended=True) as app:
        desk = Desk(app)
        result = desk.add.delay(1, y=2)
        desk.ended(result)
        assert (result.name, result.args, result.kwargs) == ("add", [1], {"y": 2})
        assert (result.worker, result.retries, result.queue) == ("one@test", 0, "celery")
        assert isinstance(result.date_done, datetime)


def test_metadata_without_result_extended(desk: Desk) -> None:
    result = desk.add.delay(1, 2)
    desk.ended(result)
    assert result.date_done.tzinfo is not None
    assert (result.args, result.worker, result.queue) == (None, None, None)


def test_backend_app_supports_native_join_on_ready(app: App) -> None:
    result = app.AsyncResult("i")
    assert (result.app, result.backend) == (app, app.result_backend)
    assert (result.supports_native_join, result.on_ready) == (True, result)


def test_equality_hash_copy_pickle(app: App) -> None:
    result = app.AsyncResult("i")
    assert result == AsyncResult("i") == "i"
    assert hash(result) == hash(AsyncResult("i"))
    assert copy.copy(result) == pickle.loads(pickle.dumps(result)) == result
    assert result != app.AsyncResult("j")


async def awaited(result: Any) -> Any:
    return await result


def test_await(desk: Desk) -> None:
    import asyncio

    result = desk.add.delay(4, 5)
    desk.ended(result)
    assert asyncio.run(awaited(desk.app.AsyncResult(result.id))) == 9


# --- sets and groups ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["set", "group"])
def test_get_join_join_native_iter_native(desk: Desk, kind: str) -> None:
    results = [desk.add.delay(1, n) for n in range(3)]
    many: ResultSet[Any] = (
        desk.app.ResultSet(results) if kind == "set" else desk.app.GroupResult("g", results)
    )
    with OneWorker(desk.app, "celery"):
        assert many.get(timeout=PATIENCE) == [1, 2, 3]
    assert many.join() == many.join_native() == [1, 2, 3]
    told: list[Any] = []
    assert many.get(callback=lambda task_id, value: told.append((task_id, value))) is None
    assert sorted(told) == sorted((one.id, n) for one, n in zip(results, [1, 2, 3], strict=True))
    assert {document["status"] for _, document in many.iter_native()} == {"SUCCESS"}


def test_get_of_a_set_fails_on_the_first_error_or_gives_it(desk: Desk) -> None:
    many = desk.app.ResultSet([desk.add.delay(1, 1), desk.fail.delay("no")])
    with OneWorker(desk.app, "celery"):
        with pytest.raises(LookupError, match="no"):
            many.get(timeout=PATIENCE)
        assert [str(one) for one in many.get(timeout=PATIENCE, propagate=False)] == ["2", "no"]
    with pytest.raises(ResultTimeout, match=r"the 1 results were.*0\.01"):
        desk.app.ResultSet([desk.app.AsyncResult("never")]).get(timeout=0.01)


def test_ready_successful_failed_waiting_completed_count(desk: Desk) -> None:
    good, bad, other = desk.add.delay(1, 1), desk.fail.delay("no"), desk.app.AsyncResult("other")
    desk.ended(good, bad)
    some = desk.app.ResultSet([good, bad, other])
    assert (some.ready(), some.successful(), some.failed()) == (False, False, True)
    assert (some.waiting(), some.completed_count()) == (True, 1)
    some.discard(other)
    assert (some.ready(), some.waiting()) == (True, False)
    with pytest.raises(LookupError):
        some.maybe_throw()
    with pytest.raises(LookupError):
        some.maybe_reraise()


def test_results_len_iteration_indexing_children(app: App) -> None:
    members = [app.AsyncResult(name) for name in "abc"]
    many = app.ResultSet(members)
    assert (len(many), list(many), many[1]) == (3, members, members[1])
    assert many.results == many.children == members


def test_add_remove_discard_update_clear(app: App) -> None:
    first, second = app.AsyncResult("a"), app.AsyncResult("b")
    many = app.ResultSet([first])
    many.add(first)
    many.add(second)
    assert len(many) == 2
    many.remove("a")
    with pytest.raises(KeyError):
        many.remove("a")
    many.discard("a")
    many.update([second, first])
    assert many.results == [second, first]
    many.clear()
    assert many.results == []


def test_revoke_and_forget_of_all_members(desk: Desk) -> None:
    results = [desk.add.delay(1, n) for n in range(2)]
    desk.ended(*results)
    many = desk.app.ResultSet(results)
    many.revoke()
    many.forget()
    assert [one.state for one in results] == ["PENDING", "PENDING"]


def test_save_restore_delete(app: App) -> None:
    group = app.GroupResult("gid", [app.AsyncResult("a"), app.AsyncResult("b")])
    assert group.save() is group
    assert app.GroupResult.restore("gid") == group
    assert GroupResult.restore("gid", app=app) == group
    group.delete()
    assert app.GroupResult.restore("gid") is None


def test_id_parent_as_tuple_equality_and_truth_of_a_group(app: App) -> None:
    parent = app.AsyncResult("p")
    group = app.GroupResult("g", [app.AsyncResult("a")], parent=parent)
    assert (group.id, group.parent, bool(group), str(group)) == ("g", parent, True, "g")
    assert result_from_tuple(group.as_tuple(), app=app) == group == "g"
    assert not app.GroupResult(None, [])


def test_then_of_a_set(desk: Desk) -> None:
    told: list[Any] = []
    result = desk.add.delay(1, 1)
    many = desk.app.ResultSet([result])
    desk.ended(result)
    many.then(told.append)
    assert told == [many]


# --- eager results --------------------------------------------------------------------------------


def test_eager_result(desk: Desk) -> None:
    good, bad = desk.add.apply((1, 2)), desk.fail.apply(("no",))
    assert (good.get(), good.state, good.ready(), good.successful()) == (3, "SUCCESS", True, True)
    with pytest.raises(LookupError, match="no"):
        bad.get()
    assert (bad.failed(), bad.traceback.startswith("Traceback")) == (True, True)
    good.forget()
    good.revoke()
    assert good.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        good.get()
    made = EagerResult("i", 5, "SUCCESS", None, "name")
    assert (made.id, made.result, made.name, made.parent) == ("i", 5, "name", None)


def test_result_base(app: App) -> None:
    for one in (
        app.AsyncResult("i"),
        app.ResultSet([]),
        app.GroupResult("g"),
        EagerResult("i", 1, "SUCCESS"),
    ):
        assert isinstance(one, ResultBase)


def test_denied_join_result_and_assert_will_not_block() -> None:
    assert_will_not_block()
    with denied_join_result(), pytest.raises(JoinRefused):
        assert_will_not_block()


# --- states ---------------------------------------------------------------------------------------


def test_sets_of_states() -> None:
    assert frozenset({"SUCCESS", "FAILURE", "REVOKED"}) == outcome.READY_STATES
    assert frozenset({"PENDING", "RECEIVED", "STARTED", "REJECTED", "RETRY"}) == (
        outcome.UNREADY_STATES
    )
    assert frozenset({"RETRY", "FAILURE", "REVOKED"}) == outcome.EXCEPTION_STATES
    assert frozenset({"FAILURE", "REVOKED"}) == outcome.PROPAGATE_STATES
    assert frozenset(
        {"PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"}
    ) == (outcome.ALL_STATES)


def test_retry_state_holds_the_exception(desk: Desk) -> None:
    seen: list[Any] = []

    @desk.app.task(name="again", bind=True)
    def again(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(exc=OSError("later"), countdown=0)
        stored = desk.app.AsyncResult(self.request.id)
        seen.append((stored.state, repr(stored.result), stored.ready()))

    desk.ended(again.delay())
    assert seen == [("RETRY", "OSError('later')", False)]


def test_custom_states_are_not_final(desk: Desk) -> None:
    desk.add.update_state("i", "PROGRESS", {"done": 1})
    result = desk.app.AsyncResult("i")
    assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 1}, False)
    assert not result.failed()


def test_exceptions_come_back_as_their_class(desk: Desk) -> None:
    result = desk.app.task(name="t")(raise_it).delay()
    desk.ended(result)
    assert type(result.result) is OwnError
    assert result.result.args == ("a", 1)


class OwnError(Exception):
    pass


def raise_it() -> None:
    raise OwnError("a", 1)


def test_result_expires() -> None:
    with new_app() as app:
        assert app.settings.result_expires == 86400


def test_the_stored_document(desk: Desk) -> None:
    result = desk.add.delay(1, 1)
    desk.ended(result)
    import json

    record = desk.app.result_backend.fetch([result.id])[result.id]
    document = json.loads(record.document)
    assert set(document) >= {
        "status",
        "result",
        "traceback",
        "children",
        "date_done",
        "task_id",
    }
    assert (document["status"], document["result"], document["task_id"]) == (
        "SUCCESS",
        2,
        result.id,
    )
