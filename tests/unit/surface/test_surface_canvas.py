"""Celery's canvas, row by row. What values nestings give is in tests/unit/workflows."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.app.mailbox import take, take_one, waiting
from umbel.app.app import App
from umbel.errors import NoResultBackend, UsageError
from umbel.workflows.canvas import chain, chord, chunks, group, xmap, xstarmap
from umbel.workflows.signature import Signature

PATIENCE = 20


@pytest.fixture
def add(app: App) -> Any:
    return app.task(name="add")(lambda x, y=0: x + y)


@pytest.fixture
def total(app: App) -> Any:
    return app.task(name="total")(sum)


def kinds(*workflows: Any) -> list[type]:
    return [type(one) for one in workflows]


def test_the_operator_makes_the_kinds_that_celery_makes(add: Any) -> None:
    a, g, c = add.s(1), group(add.s(1), add.s(2)), chord([add.s(1)], add.s())
    assert kinds(a | a, a | a | a, a | (a | a), a | g, a | g | a, a | c) == [chain] * 6
    assert kinds(g | a, g | g, g | c, c | a, c | c, group() | a, g | (a | a)) == [chord] * 7
    assert kinds(c | g) == [chain]
    assert len((a | a) | (a | a)) == 4
    with pytest.raises(TypeError):
        a | 3
    with pytest.raises(TypeError):
        3 | a


def test_chain_travels_in_the_first_message_reversed(app: App, add: Any) -> None:
    result = chain(add.s(1, 2), add.s(3), add.s(4)).apply_async()
    message = take_one(app).message
    assert message.chain is not None
    assert [one["args"] for one in message.chain] == [[4], [3]]
    assert message.chain[0]["options"]["task_id"] == result.id
    assert result.parent.parent.id == message.id
    assert result.parent.parent.parent is None


def test_options_of_a_chain_are_for_its_first_task(app: App, add: Any) -> None:
    chain(add.s(1), add.s(2)).set(queue="a").apply_async(priority=3)
    sent = take_one(app, "a")
    assert sent.message.priority == 3
    assert sent.message.chain is not None
    assert "queue" not in sent.message.chain[0]["options"]


def test_link_of_a_chain_is_for_its_last_task(app: App, add: Any) -> None:
    workflow = chain(add.s(1), add.s(2))
    workflow.link(add.s(9))
    workflow.apply_async()
    message = take_one(app).message
    assert message.callbacks is None
    assert message.chain is not None
    assert message.chain[0]["options"]["link"][0]["args"] == [9]


def test_group_sends_its_members_with_one_id(app: App, add: Any) -> None:
    result = group(add.s(2), group(add.s(3))).set(queue="a").delay(1)
    sent = [one.message for one in take(app, "a")]
    assert [(one.args, one.group_id, one.group_index) for one in sent] == [
        ([1, 2], result.id, 0),
        ([1, 3], result.id, 1),
    ]
    assert [one.id for one in result.results] == [one.id for one in sent]
    assert [one.root_id for one in sent] == [one.id for one in sent]


def test_group_link_and_link_error(app: App, add: Any) -> None:
    workflow = group(add.s(1), add.s(2))
    workflow.link(add.s(8))
    workflow.link_error(add.s(9))
    workflow.apply_async()
    first, second = (one.message for one in take(app))
    assert first.callbacks is not None
    assert first.callbacks[0]["immutable"]
    assert second.callbacks is None
    assert [len(one.errbacks or ()) for one in (first, second)] == [1, 1]
    with pytest.raises(TypeError, match="a group takes no link_error when it is sent"):
        workflow.apply_async(link_error=add.s(1))


def test_group_skew_len_tasks_and_generators(add: Any) -> None:
    workflow = group(add.s(number) for number in range(4)).skew(1, 3, 1)
    assert [one.options["countdown"] for one in workflow.tasks] == [1, 2, 1, 2]
    assert (len(workflow), len(group(workflow)), group()) == (4, 4, group())


def test_group_saved_and_restored(app: App, add: Any) -> None:
    result: Any = group(add.s(1), add.s(2)).apply_async()
    result.save()
    assert app.GroupResult.restore(result.id) == result
    result.delete()
    assert app.GroupResult.restore(result.id) is None


def test_chord_sends_its_header_with_the_body(app: App, add: Any, total: Any) -> None:
    result: Any = chord([add.s(1), add.s(2)])(total.s(), countdown=None, interval=1, max_retries=3)
    sent = [one.message for one in take(app)]
    assert [one.group_id for one in sent] == [result.parent.id] * 2
    assert [one.chord["options"]["task_id"] for one in sent if one.chord] == [result.id] * 2
    found = app.result_backend.fetch_join(result.parent.id)
    assert found is not None
    assert found.size == 2


def test_chord_link_link_error_and_immutable(add: Any, total: Any) -> None:
    workflow = chord([add.s(1)], total.s())
    assert workflow.link(add.s(1)) == add.s(1)
    workflow.on_error(add.s(2))
    workflow.set_immutable(True)
    assert (len(workflow.body.options["link"]), len(workflow.body.options["link_error"])) == (1, 1)
    assert [one.immutable for one in (*workflow.tasks, workflow.body)] == [True, False]


def test_error_callbacks_of_the_header_too(app: App, add: Any, total: Any) -> None:
    app.conf.task_allow_error_cb_on_chord_header = True
    chord([add.s(1)], total.s()).on_error(add.s(9)).apply_async()
    assert len(take_one(app).message.errbacks or ()) == 1


def test_a_chord_without_a_body_or_a_counting_store(total: Any, add: Any) -> None:
    with pytest.raises(UsageError, match=r"no body: chord\(header, body\), or chord\(header\)"):
        chord([add.s(1)]).apply_async()
    with App("nowhere", broker="memory://nowhere", backend="disabled://") as app:
        task = app.task(name="t")(lambda value: value)
        with pytest.raises(NoResultBackend, match="a chord needs a result backend, which counts"):
            chord([task.s(1)], task.s()).apply_async()
        assert waiting(app) == (0, 0)


def test_what_is_no_signature_is_refused(add: Any) -> None:
    with pytest.raises(UsageError, match=r"made of signatures, and .* is a task: write add\.s"):
        chain(add, add.s(1))
    with pytest.raises(UsageError, match="one part is 3"):
        group(add.s(1), 3)


def test_chunks_map_and_starmap(app: App, add: Any) -> None:
    assert kinds(add.map([1]), add.starmap([(1, 2)]), add.chunks([(1,)], 1)) == [
        xmap,
        xstarmap,
        chunks,
    ]
    workflow = add.chunks([(1, 1), (2, 2), (3, 3)], 2)
    assert [one["kwargs"]["it"] for one in workflow.group().skew().tasks] == [
        [(1, 1), (2, 2)],
        [(3, 3)],
    ]
    workflow()
    assert [one.message.task for one in take(app)] == ["celery.starmap"] * 2
    with pytest.raises(UsageError, match="freeze their group"):
        workflow.freeze()


def test_every_kind_travels_and_is_copied(add: Any, total: Any) -> None:
    for one in (
        chain(add.s(1), add.s(2)),
        group(add.s(1)),
        chord([add.s(1)], total.s()),
        add.chunks([(1, 2)], 1),
        add.map([1]),
        add.starmap([(1, 2)]),
    ):
        travelled = Signature.from_dict(json.loads(json.dumps(one)))
        assert type(travelled) is type(one)
        assert json.loads(json.dumps(travelled)) == json.loads(json.dumps(one))
        assert pickle.loads(pickle.dumps(one)) == one
        assert one.clone() == one
        assert one.clone() is not one


def test_clones_share_nothing(add: Any, total: Any) -> None:
    one = chord([chain(add.s(1), add.s(2))], total.s())
    other = one.clone()
    other.tasks[0].tasks[0].set(queue="other")
    other.body.set(queue="other")
    assert "other" not in json.dumps(one)


def test_revoking_a_whole_workflow(app: App, add: Any, total: Any) -> None:
    result: Any = chord([add.s(1), add.s(2)], total.s()).apply_async()
    result.parent.revoke()
    with OneWorker(app, "celery"):
        add.delay(0).get(timeout=PATIENCE)


def test_results_lead_back_and_family_is_told(app: App) -> None:
    family = app.task(bind=True, name="family")(
        lambda self, *_: [self.request.id, self.request.parent_id, self.request.root_id]
    )
    with OneWorker(app, "celery"):
        result: Any = chain(family.s(), group(family.s(), family.s()), family.s()).apply_async()
        last = result.get(timeout=PATIENCE)
        members = result.parent.get(timeout=PATIENCE)
        first = result.parent.parent.get(timeout=PATIENCE)
    assert first == [first[0], None, first[0]]
    assert [one[1:] for one in members] == [[first[0], first[0]]] * 2
    assert last[0] == result.id
    assert last[1] in {one[0] for one in members}
    assert last[2] == first[0]
