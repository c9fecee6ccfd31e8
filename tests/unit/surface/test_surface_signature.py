"""Signatures, row by row. Workflows that join them are in LATER.md."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.app.mailbox import take_one, waiting
from umbel.app.app import App
from umbel.errors import NotRegistered, UsageError
from umbel.workflows.signature import Signature, maybe_signature, signature

PATIENCE = 20


@pytest.fixture
def add(app: App) -> Any:
    return app.task(name="add")(add_up)


def add_up(x: int, y: int = 0, z: int = 0) -> int:
    return x * 100 + y * 10 + z


def test_signature_is_a_dict_of_six_keys_and_json(app: App, add: Any) -> None:
    for call in (
        signature("add", args=(1,), kwargs={"y": 2}, queue="q", app=app),
        signature(add, (1,), {"y": 2}, {"queue": "q"}),
        app.signature("add", (1,), {"y": 2}, queue="q"),
        add.signature((1,), {"y": 2}, queue="q"),
    ):
        assert dict(call) == {
            "task": "add",
            "args": (1,),
            "kwargs": {"y": 2},
            "options": {"queue": "q"},
            "subtask_type": None,
            "immutable": False,
        }
        assert signature(json.loads(json.dumps(call)), app=app)() == 120


def test_s_si_and_signature(add: Any) -> None:
    assert (add.s(1, y=2).args, add.s(1, y=2).kwargs) == ((1,), {"y": 2})
    assert add.si(1).immutable
    assert add.signature((1,), immutable=True).immutable


def test_maybe_signature(app: App, add: Any) -> None:
    assert maybe_signature(None) is None
    found = maybe_signature(dict(add.s(1)), app=app)
    assert isinstance(found, Signature)
    assert maybe_signature(found) is found
    assert maybe_signature(found, clone=True) is not found


def test_delay_and_apply_async_put_new_arguments_first(app: App, add: Any) -> None:
    add.s(2, z=3).delay(1)
    message = take_one(app).message
    assert (message.args, message.kwargs) == ([1, 2], {"z": 3})
    add.s(2, z=3).set(queue="a").apply_async((1,), {"z": 4}, queue="b")
    sent = take_one(app, "b")
    assert sent.message.kwargs == {"z": 4}


def test_an_immutable_signature_takes_no_arguments(app: App, add: Any) -> None:
    add.si(1).apply_async((5,), {"y": 6})
    message = take_one(app).message
    assert (message.args, message.kwargs) == ([1], {})


def test_call_runs_inline_and_apply_eagerly(app: App, add: Any) -> None:
    assert add.s(2, z=3)(1) == 123
    assert add.s(2).apply((1,)).get() == 120
    assert waiting(app) == (0, 0)


def test_invert_sends_and_waits(app: App, add: Any) -> None:
    with OneWorker(app, "celery"):
        assert ~add.s(1, 2) == 120


def test_set_changes_in_place(add: Any) -> None:
    call = add.s(1)
    assert call.set(countdown=5, immutable=True) is call
    assert (call.options, call.immutable) == ({"countdown": 5}, True)
    call.set_immutable(False)
    assert not call.immutable


def test_clone_and_partial_are_copies(add: Any) -> None:
    call = add.s(2).set(headers={"a": 1})
    more = call.clone((1,), {"z": 3}, queue="q")
    assert (more.args, more.kwargs) == ((1, 2), {"z": 3})
    more.options["headers"]["a"] = 2
    assert call.options == {"headers": {"a": 1}}
    assert call.partial((0,)).args == (0, 2)


def test_replace_puts_parts_in_place(add: Any) -> None:
    call = add.s(1, y=2).replace(args=(5,))
    assert (call.args, call.kwargs) == ((5,), {"y": 2})


def test_freeze_settles_the_id(app: App, add: Any) -> None:
    call = add.s(1)
    result = call.freeze("mine")
    assert (result.id, call.id, call.freeze().id) == ("mine", "mine", "mine")
    call.delay()
    assert take_one(app).message.id == "mine"


def test_link_link_error_on_error(add: Any) -> None:
    call, callback = add.s(1), add.s(2)
    assert call.link(callback) is callback
    assert call.link_error(callback) is callback
    assert call.on_error(add.s(3)) is call
    assert call.options["link"] == [callback]
    assert len(call.options["link_error"]) == 2
    call.link(callback)
    assert call.options["link"] == [callback]
    assert call.flatten_links() == [call, callback]


def test_links_are_run(app: App, add: Any) -> None:
    told: list[Any] = []
    note = app.task(name="note")(told.append)
    call = add.s(1, 2)
    call.link(note.s())
    with OneWorker(app, "celery"):
        call.delay().get(timeout=PATIENCE)
        note.delay("last").get(timeout=PATIENCE)
    assert told == [120, "last"]


def test_fields(app: App, add: Any) -> None:
    call = add.s(1, y=2).set(task_id="i", parent_id="p", root_id="r")
    assert (call.args, call.kwargs, call.task, call.name) == ((1,), {"y": 2}, "add", "add")
    assert (call.type, call.app, call.subtask_type) == (add, app, None)
    assert (call.id, call.parent_id, call.root_id) == ("i", "p", "r")
    with pytest.raises(NotRegistered, match="There is no task 'nowhere' here"):
        _ = app.signature("nowhere").type


def test_extension_points(add: Any) -> None:
    call = add.s(1)
    assert call.reprcall(0) == repr(add.s(0, 1)) == "add(0, 1)"
    call.append_to_list_option("link", add.s(5))
    call.extend_list_option("link", [add.s(6)])
    assert len(call.options["link"]) == 2

    @Signature.register_type("own-kind")
    class Own(Signature[Any]):
        @classmethod
        def from_dict(cls, d: Any, app: Any = None) -> Own:
            return cls(dict(d), app=app)

    try:
        assert type(Signature.from_dict({**add.s(1), "subtask_type": "own-kind"})) is Own
    finally:
        del Signature.TYPES["own-kind"]
    with pytest.raises(UsageError, match="a 'own-kind', a kind that is not known here"):
        Signature.from_dict({**add.s(1), "subtask_type": "own-kind"})


def test_copies_and_pickle(app: App, add: Any) -> None:
    call = add.s(1, y=[2])
    for copied in (copy.copy(call), copy.deepcopy(call), pickle.loads(pickle.dumps(call))):
        assert copied == call
        assert isinstance(copied, Signature)


def test_what_is_no_task_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Was the function decorated with @app\.task\?"):
        signature(len)
