"""Signatures: calls as values."""

from __future__ import annotations

import copy
import json
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.app.app import App
from umbel.app.handles import AsyncResult
from umbel.errors import DecodeError, NotRegistered, UsageError
from umbel.wire.signature_dict import KEYS
from umbel.workflows.signature import Signature, maybe_signature, signature


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    app = App("sig", broker=url, backend=url)

    @app.task(name="add")
    def add(x: int, y: int, z: int = 0) -> int:
        return x + y + z

    yield app
    app.close()


def sig(*args: Any, **options: Any) -> Signature[Any]:
    return Signature("add", args, **options)


def test_it_is_a_mapping_with_exactly_the_six_keys_that_travel() -> None:
    one = signature("add", (1, 2), {"z": 3}, queue="fast", immutable=True)
    assert tuple(one) == KEYS
    assert json.loads(json.dumps(one)) == {
        "task": "add",
        "args": [1, 2],
        "kwargs": {"z": 3},
        "options": {"queue": "fast"},
        "subtask_type": None,
        "immutable": True,
    }


def test_a_travelled_signature_is_read_back() -> None:
    one = signature("add", (1, 2), queue="fast")
    assert Signature.from_dict(json.loads(json.dumps(one))).merged(None, None, None) == one.merged(
        None, None, None
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"args": [1]}, "names no task"),
        ({"task": "add", "args": 3}, "int args, not a list"),
        ({"task": "add", "kwargs": [3]}, "list kwargs, not a mapping"),
    ],
)
def test_a_mapping_that_is_no_signature(wrong: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        signature(wrong)


def test_a_kind_that_nobody_registered() -> None:
    with pytest.raises(UsageError, match="this signature is a 'spiral', a kind that is not known"):
        signature({"task": "x", "subtask_type": "spiral"})


def test_what_cannot_be_a_task() -> None:
    with pytest.raises(UsageError, match=r"got 3\. Was the function decorated with @app\.task"):
        signature(3)


def test_a_registered_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signature, "TYPES", {})

    @Signature.register_type("twice")
    class Twice(Signature[Any]):
        pass

    one = signature({"task": "x", "subtask_type": "twice"})
    assert type(one) is Twice
    assert type(one.clone()) is Twice
    assert type(copy.deepcopy(one)) is Twice


# --- merging --------------------------------------------------------------------------------------


def test_arguments_of_the_call_go_before_and_over_its_own() -> None:
    one = Signature("add", (2, 3), {"z": 4, "w": 5}, {"queue": "a", "priority": 1})
    args, kwargs, options = one.merged((1,), {"z": 0}, {"queue": "b"})
    assert args == (1, 2, 3)
    assert kwargs == {"z": 0, "w": 5}
    assert options == {"queue": "b", "priority": 1}


def test_an_immutable_one_takes_options_only() -> None:
    one = sig(1, 2, immutable=True)
    assert one.merged((9,), {"z": 9}, {"queue": "b"}) == ((1, 2), {}, {"queue": "b"})
    assert one.merged((9,), {"z": 9}, {}, force=True)[:2] == ((9, 1, 2), {"z": 9})


def test_group_and_stamps_stay_and_null_options_are_dropped() -> None:
    one = sig(1, 2, group_id="g", stamped_headers=["who"], who="me", queue="a")
    changes: dict[str, Any] = {
        "group_id": "h",
        "stamped_headers": [],
        "who": "you",
        "queue": None,
        "eta": None,
    }
    assert one.merged(None, None, changes)[2] == dict(one.options)
    assert sig(1, 2).merged(None, None, {"group_id": "h"})[2] == {"group_id": "h"}


arguments = st.lists(st.integers(), max_size=4)
keywords = st.dictionaries(st.sampled_from("abc"), st.integers())


@given(arguments, arguments, arguments, keywords, keywords, keywords)
def test_cloning_in_two_steps_is_cloning_in_one(
    own: Any, first: Any, second: Any, own_kw: Any, first_kw: Any, second_kw: Any
) -> None:
    one = Signature("add", own, own_kw)
    stepwise = one.clone(first, first_kw).clone(second, second_kw)
    assert stepwise == one.clone([*second, *first], {**first_kw, **second_kw})


@given(arguments, keywords, st.booleans())
def test_copies_are_equal_and_apart(args: Any, kwargs: Any, immutable: bool) -> None:
    one = Signature("add", args, kwargs, {"headers": {"a": [1]}}, immutable=immutable)
    for copied in (one.clone(), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert copied == one
        assert type(copied) is Signature
        copied.options["headers"]["a"].append(2)
        copied.kwargs["new"] = 1
        assert one.options["headers"] == {"a": [1]}
        assert "new" not in one.kwargs


# --- changing it ----------------------------------------------------------------------------------


def test_set_changes_it_in_place() -> None:
    one = sig(1, 2)
    assert one.set(queue="fast", immutable=True) is one
    assert one.options == {"queue": "fast"}
    assert one.immutable


def test_callbacks_are_added_once_and_returned() -> None:
    one, callback, errback = sig(1), sig(2), sig(3)
    assert one.link(callback) is callback
    one.link(callback)
    assert one.link_error(errback) is errback
    assert one.on_error(sig(4)) is one
    assert one.options["link"] == [callback]
    assert one.options["link_error"] == [errback, sig(4)]
    callback.link(sig(5))
    assert one.flatten_links() == [one, callback, sig(5)]


def test_a_callback_given_as_an_option_is_kept_when_another_is_added() -> None:
    one = sig(1, link=sig(2))
    one.link(sig(3))
    one.extend_list_option("link", [sig(4)])
    assert one.options["link"] == [sig(2), sig(3), sig(4)]


def test_replace_takes_parts_away() -> None:
    one = Signature("add", (1, 2), {"z": 3}, {"queue": "a"})
    assert one.replace(args=(9,)) == Signature("add", (9,), {"z": 3}, {"queue": "a"})
    assert one.replace(kwargs={}, options={}) == Signature("add", (1, 2))


def test_its_parts_are_attributes() -> None:
    one = Signature("add", (1, 2), {"z": 3}, {"task_id": "id", "parent_id": "p", "root_id": "r"})
    assert (one.task, one.name, one.args, one.kwargs) == ("add", "add", (1, 2), {"z": 3})
    assert (one.id, one.parent_id, one.root_id) == ("id", "p", "r")
    one.args, one.kwargs, one.options, one.immutable, one.task = [4], {}, {}, True, "mul"
    assert one == Signature("mul", (4,), immutable=True)


def test_it_is_shown_as_a_call() -> None:
    assert repr(Signature("add", (1, "a"), {"z": 3})) == "add(1, 'a', z=3)"
    assert sig(2).reprcall(1) == "add(1, 2)"


def test_maybe_signature() -> None:
    one = sig(1)
    assert maybe_signature(None) is None
    assert maybe_signature(one) is one
    cloned = maybe_signature(one, clone=True)
    assert cloned == one
    assert cloned is not one
    assert isinstance(maybe_signature(dict(one)), Signature)


# --- with an app ----------------------------------------------------------------------------------


def test_it_is_sent_as_its_task_is(app: App) -> None:
    one = app.tasks["add"].s(2, z=3).set(queue="elsewhere")
    result = one.delay(1)
    assert isinstance(result, AsyncResult)
    assert [one.ready for one in app.broker.stats(["elsewhere"])] == [1]


def test_without_an_app_it_finds_the_current_one(app: App) -> None:
    result: Any = signature("no.such.task", (1,)).apply_async(queue="by-name")
    assert result.app is app
    assert [one.ready for one in app.broker.stats(["by-name"])] == [1]


def test_it_runs_here(app: App) -> None:
    one = app.tasks["add"].s(2)
    assert one(1) == 3
    assert one.apply((1,), {"z": 4}).get() == 7
    with pytest.raises(NotRegistered):
        signature("no.such.task")(1)


def test_freezing_settles_the_id(app: App) -> None:
    one = app.tasks["add"].s(1, 2)
    future = one.freeze(root_id="root", group_id="group", group_index=0)
    assert one.id == future.id
    assert one.freeze(_id="other").id == future.id
    assert one.options["root_id"] == "root"
    assert (one.options["group_id"], one.options["group_index"]) == ("group", 0)
    assert one.delay().id == future.id


def test_it_can_be_copied_without_copying_the_app(app: App) -> None:
    one = app.tasks["add"].s(1, 2)
    assert copy.deepcopy(one).app is app
    assert copy.copy(one).app is app
    assert one.clone().type is one.type
