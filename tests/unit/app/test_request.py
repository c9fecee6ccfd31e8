from __future__ import annotations

import copy
import threading
from datetime import UTC, datetime

import pytest

from umbel.app import context
from umbel.app.context import Context
from umbel.model.message import TaskMessage

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def message() -> TaskMessage:
    return TaskMessage(
        id="an-id",
        task="proj.add",
        args=(1, 2),
        kwargs={"z": 3},
        eta=MOMENT,
        expires=MOMENT,
        retries=2,
        priority=5,
        time_limit=30,
        soft_time_limit=20,
        root_id="root",
        parent_id="parent",
        group_id="group",
        group_index=4,
        headers={"x-custom": "v"},
        callbacks=[{"task": "cb"}],
        stamped_headers=["s"],
        stamps={"s": 1},
    )


def test_fields_are_derived_from_the_message() -> None:
    request = Context.from_message(message(), hostname="w@h", queue="high")
    assert request.id == "an-id"
    assert request.task == "proj.add"
    assert (request.args, request.kwargs, request.retries) == ((1, 2), {"z": 3}, 2)
    assert (request.root_id, request.parent_id) == ("root", "parent")
    assert request.eta == request.expires == "2026-05-04T03:02:01+00:00"
    assert request.timelimit == [30, 20]
    assert (request.time_limit, request.soft_time_limit) == (30, 20)
    assert (request.group, request.taskset, request.group_index) == ("group", "group", 4)
    assert request.callbacks == [{"task": "cb"}]
    assert request.hostname == "w@h"
    assert request.headers == {"x-custom": "v"}
    assert request.stamps == {"s": 1}
    assert request.utc is None
    assert request.children == []
    assert not request.called_directly
    assert not request.is_eager


def test_custom_headers_are_attributes_and_typos_are_errors() -> None:
    request = Context.from_message(message())
    assert request.get("x-custom") == "v"
    assert getattr(request, "x-custom") == "v"
    assert request.get("nothing", 7) == 7
    with pytest.raises(AttributeError, match=r"request of task 'proj.add' has no 'retrys'"):
        _ = request.retrys


def test_delivery_info() -> None:
    request = Context.from_message(message(), queue="high")
    assert request.delivery_info == {
        "exchange": "",
        "routing_key": "high",
        "priority": 5,
        "redelivered": False,
    }
    given = {"routing_key": "other"}
    assert Context.from_message(message(), delivery_info=given).delivery_info is given
    eager = Context.from_message(message(), is_eager=True).delivery_info
    assert eager == {"is_eager": True, "exchange": None, "routing_key": None, "priority": 5}


def test_the_request_of_no_run_is_empty() -> None:
    request = Context()
    assert request.called_directly
    assert (request.id, request.headers, request.delivery_info) == (None, None, None)
    assert (request.args, request.kwargs, request.retries, request.children) == ((), {}, 0, [])


def test_update_and_clear_change_the_request_alone() -> None:
    own = message()
    request = Context.from_message(own)
    request.update({"retries": 9}, extra=1)
    assert (request.retries, request.extra) == (9, 1)
    assert own.retries == 2
    request.clear()
    assert request.id is None


def test_execution_options_make_the_next_message_go_the_same_way() -> None:
    options = Context.from_message(message()).as_execution_options()
    assert options["task_id"] == "an-id"
    assert options["link"] == [{"task": "cb"}]
    assert (options["time_limit"], options["soft_time_limit"]) == (30, 20)
    assert options["expires"] == MOMENT
    assert options["headers"] == {"x-custom": "v"}
    empty = Context().as_execution_options()
    assert empty["task_id"] is None
    assert empty["time_limit"] is None


def test_it_can_be_copied() -> None:
    request = copy.copy(Context.from_message(message()))
    assert request.retries == 2


def test_runs_nest_and_each_thread_has_its_own() -> None:
    first, second = object(), object()
    context.push(first, Context(id="1"))
    context.push(second, Context(id="2"))
    try:
        inner = context.request_of(second)
        outer = context.request_of(first)
        assert inner is not None
        assert outer is not None
        assert (inner.id, outer.id) == ("2", "1")
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.append(context.current.get()))
        thread.start()
        thread.join()
        assert seen == [None]
    finally:
        context.pop()
        context.pop()
    assert context.current.get() is None
    context.pop()  # of nothing


def test_worker_run_skips_plain_and_eager_calls() -> None:
    context.push("worker", Context.from_message(message()))
    context.push("eager", Context.from_message(message(), is_eager=True))
    context.push("plain", Context())
    try:
        running = context.worker_run()
        assert running is not None
        assert running.task == "worker"
    finally:
        for _ in range(3):
            context.pop()
    assert context.worker_run() is None
