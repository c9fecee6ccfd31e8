"""Every nesting gives the value of the table: sent to a worker, and run here and now."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.workflows.conformance_table import FAILURES, VALUES, Tasks
from umbel.app.app import App
from umbel.app.result_trees import leaves_of
from umbel.errors import ChordError
from umbel.workflows.signature import Signature

PATIENCE = 20


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("table", broker=url, backend=url) as made, OneWorker(made, "celery"):
        yield made


@pytest.fixture(scope="module")
def tasks(app: App) -> Tasks:
    return Tasks(app)


@pytest.fixture(scope="module")
def eager_tasks() -> Iterator[Tasks]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("eager", broker=url, backend=url, task_always_eager=True) as made:
        yield Tasks(made)


def travelled(workflow: Any, app: App) -> Any:
    """The workflow after a journey as JSON."""
    return Signature.from_dict(json.loads(json.dumps(workflow)), app=app)


@pytest.mark.parametrize("row", VALUES)
def test_values(tasks: Tasks, app: App, row: str) -> None:
    make, expected = VALUES[row]
    assert make(tasks).apply_async().get(timeout=PATIENCE) == expected
    assert travelled(make(tasks), app).apply_async().get(timeout=PATIENCE) == expected
    assert make(tasks).clone().delay().get(timeout=PATIENCE) == expected


@pytest.mark.parametrize("row", VALUES)
def test_values_here_and_now(eager_tasks: Tasks, row: str) -> None:
    make, expected = VALUES[row]
    assert make(eager_tasks).apply().get() == expected
    assert make(eager_tasks).apply_async().get() == expected


@pytest.mark.parametrize("row", VALUES)
def test_a_frozen_one_has_the_ids_it_was_told(tasks: Tasks, row: str) -> None:
    make, expected = VALUES[row]
    if "chunks" in row:
        pytest.skip("they are frozen as a group")
    workflow = make(tasks)
    future = workflow.freeze()
    ids = [leaf.id for leaf in leaves_of(future)]
    sent = workflow.apply_async()
    assert [leaf.id for leaf in leaves_of(sent)] == ids
    assert future.get(timeout=PATIENCE) == expected


@pytest.mark.parametrize("style", ["heard", "heard_id"])
@pytest.mark.parametrize("row", FAILURES)
def test_failures(tasks: Tasks, row: str, style: str) -> None:
    make, calls = FAILURES[row]
    tasks.told.clear()
    sent = make(tasks).on_error(getattr(tasks, style).s()).apply_async()
    with pytest.raises((ValueError, ChordError), match="boom"):
        sent.get(timeout=PATIENCE)
    settled(sent)
    # Everything sent before this has run by then: one worker, one queue.
    for _ in range(3):
        tasks.c.delay(0).get(timeout=PATIENCE)
    assert len(tasks.told) == calls, tasks.told


@pytest.mark.parametrize("style", ["heard", "heard_id"])
@pytest.mark.parametrize("row", FAILURES)
def test_failures_here_and_now(eager_tasks: Tasks, row: str, style: str) -> None:
    make, calls = FAILURES[row]
    eager_tasks.told.clear()
    ended = make(eager_tasks).on_error(getattr(eager_tasks, style).s()).apply()
    with pytest.raises((ValueError, ChordError), match="boom"):
        ended.get()
    assert len(eager_tasks.told) == calls, eager_tasks.told


def settled(result: Any) -> None:
    """Every run of the workflow, up to the first, ends: nothing is left waiting."""
    while result is not None:
        for leaf in leaves_of(result):
            leaf.get(timeout=PATIENCE, propagate=False, follow_parents=False)
        result = result.parent
