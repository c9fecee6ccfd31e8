"""How many bytes a workflow takes when it is sent, and how that grows with the workflow."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from umbel.app.app import App
from umbel.app.workflow_calls import planned, prepared
from umbel.errors import DecodeError
from umbel.wire import envelope
from umbel.wire.signature_dict import read_steps
from umbel.workflows.beginning import Launch, launches
from umbel.workflows.canvas import chain, chord, group
from umbel.workflows.planning import read_all


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("sizes", broker=url, backend=url) as made:
        made.task(name="add")(lambda x, y: x + y)
        made.task(name="total")(sum)
        yield made


def sent(app: App, workflow: Any) -> int:
    """Return the bytes of all messages that begin a workflow."""
    steps = launches(planned(app, read_all(workflow)))
    calls = [prepared(app, step) for step in steps if isinstance(step, Launch)]
    return sum(len(envelope.dump_compact(call.outgoing().message)) for call in calls)


def test_five_nested_chords_of_ten_take_less_than_a_megabyte(app: App) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    by_body: Any = total.s()
    by_header: Any = add.si(0, 1)
    by_pipe: Any = group(add.si(number, 1) for number in range(10))
    for _ in range(5):
        by_body = chord([add.si(number, 1) for number in range(10)], by_body)
        by_header = chord([by_header, *(add.si(number, 1) for number in range(9))], total.s())
        by_pipe = by_pipe | group(add.si(number, 1) for number in range(10))
    for workflow in (by_body, by_header, by_pipe | total.s()):
        assert sent(app, workflow) < 1_000_000


@pytest.mark.parametrize("kind", [chain, group, lambda tasks: chord(tasks, chain(tasks[-1:]))])
def test_it_grows_with_the_workflow(app: App, kind: Any) -> None:
    add = app.tasks["add"]
    some, more = (sent(app, kind([add.si(1, 1) for _ in range(n)])) for n in (200, 400))
    assert more < 2.1 * some


def test_steps_that_are_only_handed_on_are_not_read() -> None:
    """A long chain would cost the square of its length."""
    far, near = {"task": "far"}, {"task": "near"}
    read = read_steps([far, near], "a step")
    assert read is not None
    assert read[0] is far
    assert read[1]["options"] == {}
    assert read_steps([], "a step") is None
    with pytest.raises(DecodeError, match="a step names no task"):
        read_steps([far, {}], "a step")
    with pytest.raises(DecodeError, match="a step is a int, not a mapping"):
        read_steps([3, near], "a step")
