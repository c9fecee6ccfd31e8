"""The tree of a run as a graph: what is in it, how it is sorted and drawn."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator

import pytest

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.app.result_graphs import DependencyGraph, GraphFormatter
from umbel.errors import IncompleteStream, UsageError
from umbel.workflows.canvas import chain, group

PATIENCE = 20


@pytest.fixture
def graph() -> DependencyGraph:
    return DependencyGraph([("a", ["b", "d"]), ("b", ["c"]), ("c", []), ("d", [])])


def test_what_is_in_it(graph: DependencyGraph) -> None:
    """Everything here is what ``celery.utils.graph`` answers to the same, seen with Celery 5.7."""
    assert list(graph) == ["a", "b", "c", "d"]
    assert list(graph.edges()) == ["a", "b"]
    assert list(graph.items()) == [("a", ["b", "d"]), ("b", ["c"]), ("c", []), ("d", [])]
    assert (len(graph), "a" in graph, "x" in graph, graph["a"]) == (4, True, False, ["b", "d"])
    assert (graph.valency_of("a"), graph.valency_of("c")) == (3, 0)
    with pytest.raises(KeyError):
        graph.add_edge("x", "a")


def test_it_is_sorted_from_its_ends(graph: DependencyGraph) -> None:
    order = graph.topsort()
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("c") < order.index("b") < order.index("a")
    graph.add_edge("c", "a")
    with pytest.raises(UsageError, match="goes in a circle, a -> "):
        graph.topsort()
    assert "in a circle" in repr(graph)


def test_it_is_drawn(graph: DependencyGraph) -> None:
    file = io.StringIO()
    graph.to_dot(file, formatter=GraphFormatter(root='"a"', shape="oval", fillcolor=None))
    lines = file.getvalue().splitlines()
    assert lines[0] == "digraph results {"
    assert 'root="\\"a\\""' in lines[1]
    assert [line.split(" [")[0].strip() for line in lines[2:-1]] == [
        '"a"', '"b"', '"c"', '"d"', '"a" -> "b"', '"a" -> "d"', '"b" -> "c"',
    ]  # fmt: skip
    assert all('shape="oval"' in line for line in lines[1:-1])
    assert lines[-1] == "}"
    assert repr(graph).splitlines()[:3] == ["a(3)", "     b(1)", "          c(0)"]


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("graphs", broker=url, backend=url) as made:
        yield made


def test_the_graph_of_a_run(app: App) -> None:
    add = app.task(name="add")(lambda x, y: x + y)
    sent = chain(add.s(1, 1), group(add.s(2), add.s(3))).delay()
    first = sent.parent  # type: ignore[attr-defined]
    with pytest.raises(IncompleteStream):
        _ = first.graph
    assert len(first.build_graph(intermediate=True)) == 1
    with OneWorker(app, "celery"):
        assert sent.get(timeout=PATIENCE) == [4, 5]
    graph = first.graph
    assert next(iter(graph)) == first
    assert len(graph) == 4  # the first, the group, and its members
    (children,) = graph[first]
    assert [one.id for one in graph[children]] == [one.id for one in sent.results]  # type: ignore[attr-defined]
