"""Random workflows against an interpreter that is too simple to be wrong.

The interpreter knows values and errors and nothing of messages, joins or ids. A worker on the
memory driver and an eager run must come to the same value, or fail where it fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.app.result_trees import leaves_of
from umbel.errors import ChordError
from umbel.workflows.canvas import chain, chord, group

PATIENCE = 20

Tree: TypeAlias = tuple[Any, ...]
"""("task", name), ("fail",), ("chain", trees), ("group", trees), ("chord", trees, tree)."""

tasks = st.one_of(
    st.tuples(st.just("task"), st.sampled_from("abcdef")),
    st.tuples(st.just("task"), st.sampled_from("abcdef")),
    st.tuples(st.just("task"), st.sampled_from("abcdef")),
    st.tuples(st.just("fail")),
)
trees = st.recursive(
    tasks,
    lambda inner: st.one_of(
        st.tuples(st.just("chain"), st.lists(inner, min_size=1, max_size=4)),
        st.tuples(st.just("group"), st.lists(inner, min_size=2, max_size=3)),
        st.tuples(st.just("chord"), st.lists(inner, min_size=1, max_size=3), inner),
    ),
    max_leaves=10,
)


class Failed(Exception):
    """The workflow has no value."""


def value_of(tree: Tree, given: Any, ran: list[str]) -> Any:
    """Return the value of a workflow whose first tasks get ``given``; note what runs in ``ran``.

    Raises Failed.
    """
    match tree:
        case ("task", name):
            ran.append(name)
            return [name, given]
        case ("fail",):
            ran.append("fail")
            raise Failed
        case ("chain", steps):
            for step in steps:
                given = value_of(step, given, ran)
            return given
        case ("group", members):
            return values_of(flat(members), given, ran)
        case ("chord", header, body):
            return value_of(body, values_of(flat(header), given, ran), ran)
    raise AssertionError(tree)


def values_of(members: list[Tree], given: Any, ran: list[str]) -> list[Any]:
    """Every member runs, whichever of them fails."""
    values, failed = [], False
    for member in members:
        try:
            values.append(value_of(member, given, ran))
        except Failed:
            failed = True
    if failed:
        raise Failed
    return values


def flat(members: list[Tree]) -> list[Tree]:
    """A group directly within a group, or within a header, is part of it."""
    found: list[Tree] = []
    for member in members:
        found.extend(flat(member[1]) if member[0] == "group" else [member])
    return found


class Factory:
    """Makes the workflow that a tree describes, and hears how often something failed."""

    def __init__(self, app: App) -> None:
        self.ran: list[str] = []
        self.note = app.task(name="note")(self._note)
        self.fail = app.task(name="fail")(self._fail)

    def _note(self, given: Any, name: str) -> list[Any]:
        self.ran.append(name)
        return [name, given]

    def _fail(self, given: Any) -> None:
        self.ran.append("fail")
        raise ValueError("no")

    def make(self, tree: Tree) -> Any:
        match tree:
            case ("task", name):
                return self.note.s(name)
            case ("fail",):
                return self.fail.s()
            case ("chain", steps):
                return chain(*map(self.make, steps))
            case ("group", members):
                return group(*map(self.make, members))
            case ("chord", header, body):
                return chord([self.make(one) for one in header], self.make(body))
        raise AssertionError(tree)


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("random", broker=url, backend=url) as made, OneWorker(made, "celery"):
        yield made


@pytest.fixture(scope="module")
def factory(app: App) -> Factory:
    return Factory(app)


@pytest.fixture(scope="module")
def eager_factory() -> Iterator[Factory]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("random", broker=url, backend=url, task_always_eager=True) as made:
        yield Factory(made)


def check(result: Any, tree: Tree, factory: Factory, settle: Any) -> None:
    ran: list[str] = []
    try:
        expected = value_of(tree, 0, ran)
    except Failed:
        with pytest.raises((ValueError, ChordError)):
            result.get(timeout=PATIENCE)
    else:
        assert result.get(timeout=PATIENCE) == expected
    settle(result)
    assert sorted(factory.ran) == sorted(ran)


relaxed = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(trees)
def test_a_worker_comes_to_the_same(app: App, factory: Factory, tree: Tree) -> None:
    def settle(result: Any) -> None:
        while result is not None:  # nothing of it is left waiting
            for leaf in leaves_of(result):
                leaf.get(timeout=PATIENCE, propagate=False, follow_parents=False)
            result = result.parent
        while any(one.ready + one.claimed for one in app.broker.stats(["celery"])):
            factory.note.delay(0, "idle").get(timeout=PATIENCE)
            factory.ran.remove("idle")

    factory.ran.clear()
    check(factory.make(tree).apply_async((0,)), tree, factory, settle)


@relaxed
@given(trees)
def test_an_eager_run_comes_to_the_same(eager_factory: Factory, tree: Tree) -> None:
    eager_factory.ran.clear()
    check(eager_factory.make(tree).apply((0,)), tree, eager_factory, lambda _: None)
