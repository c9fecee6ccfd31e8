"""Results as a graph: which run led to which, for people and for programs that draw.

``AsyncResult.build_graph`` makes one; the alias offers the classes as ``celery.utils.graph``. Knows
nothing of results: an edge leads from a thing to what depends on it being there.
"""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, TextIO

from umbel.errors import UsageError


class GraphFormatter:
    """How a graph is written in Graphviz's language. Override a method to change a part of it."""

    graph_scheme: Mapping[str, Any] = {"bgcolor": "white"}
    node_scheme: Mapping[str, Any] = {"fillcolor": "lightblue"}
    term_scheme: Mapping[str, Any] = {"fillcolor": "lightgrey"}
    """Of things that nothing comes of."""
    edge_scheme: Mapping[str, Any] = {}

    def __init__(
        self,
        root: Any = None,
        type: str | None = None,  # noqa: A002 - Celery's name
        id: str | None = None,  # noqa: A002 - Celery's name
        indent: int = 0,
        inw: str = " " * 4,
        **scheme: Any,
    ) -> None:
        """``scheme``: attributes of everything, such as ``shape``."""
        self.root = root
        self.type = type or "digraph"
        self.id = id or "results"
        self.scheme = {"shape": "box", "style": "filled", **scheme}
        self._margin = inw * indent
        self._inner = inw * (indent + 1)

    def head(self, **attrs: Any) -> str:
        """Return the first line, and that of the graph's attributes."""
        told = self.attrs({"root": self.root, **attrs}, self.graph_scheme)
        return f"{self._margin}{self.type} {self.id} {{\n{self._inner}graph {told}"

    def tail(self) -> str:
        """Return the last line."""
        return f"{self._margin}}}"

    def label(self, obj: Any) -> Any:
        """Return what stands for a thing."""
        return obj

    def node(self, obj: Any, **attrs: Any) -> str:
        """Return the line of a thing."""
        return self.draw_node(obj, self.node_scheme, attrs)

    def terminal_node(self, obj: Any, **attrs: Any) -> str:
        """Return the line of a thing that nothing comes of."""
        return self.draw_node(obj, self.term_scheme, attrs)

    def edge(self, a: Any, b: Any, **attrs: Any) -> str:
        """Return the line from one thing to another."""
        return self.draw_edge(a, b, self.edge_scheme, attrs)

    def draw_node(
        self, obj: Any, scheme: Mapping[str, Any], attrs: Mapping[str, Any] | None = None
    ) -> str:
        """Return the line of a thing, with these attributes."""
        return f"{self._inner}{_quoted(self.label(obj))} {self.attrs(attrs, scheme)}"

    def draw_edge(
        self,
        a: Any,
        b: Any,
        scheme: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the line between two things, with these attributes."""
        ends = f"{_quoted(self.label(a))} -> {_quoted(self.label(b))}"
        return f"{self._inner}{ends} {self.attrs(attrs, scheme)}"

    def attrs(
        self, attrs: Mapping[str, Any] | None, scheme: Mapping[str, Any] | None = None
    ) -> str:
        """Return attributes in brackets; what is None is left out."""
        every = {**self.scheme, **(scheme or {}), **(attrs or {})}
        told = [f"{name}={_quoted(value)}" for name, value in every.items() if value is not None]
        return f"[{', '.join(told)}]"


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


class DependencyGraph:
    """Things, and for each the things that come of it. One thread may change it at a time."""

    def __init__(
        self,
        it: Iterable[tuple[Hashable, Iterable[Hashable]]] | None = None,
        formatter: GraphFormatter | None = None,
    ) -> None:
        self.formatter = formatter or GraphFormatter()
        self.adjacent: dict[Any, list[Any]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: Hashable) -> None:
        """Add a thing, unless it is there."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, a: Hashable, b: Hashable) -> None:
        """Say that ``b`` comes of ``a``. Raises KeyError where ``a`` is not there."""
        self.adjacent[a].append(b)

    def connect(self, graph: DependencyGraph) -> None:
        """Add another graph's things."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[Hashable, Iterable[Hashable]]]) -> None:
        """Add things, each with what comes of it."""
        pairs = [(obj, list(found)) for obj, found in it]
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, found in pairs:
            for one in found:
                self.add_edge(obj, one)

    def topsort(self) -> list[Any]:
        """Return the things, each behind all that comes of it. Raises UsageError for a circle."""
        try:
            return list(TopologicalSorter(self.adjacent).static_order())
        except CycleError as error:
            told = " -> ".join(map(str, reversed(error.args[1])))
            raise UsageError(f"this graph cannot be sorted: it goes in a circle, {told}.") from None

    def valency_of(self, obj: Hashable) -> int:
        """Return how many edges lead on from a thing, from what comes of it, and so on."""
        found = self.adjacent.get(obj, ())
        return len(found) + sum(map(self.valency_of, found))

    def edges(self) -> Iterator[Any]:
        """Walk the things that something comes of."""
        return (obj for obj, found in self.adjacent.items() if found)

    def items(self) -> ItemsView[Any, list[Any]]:
        """Return the things, each with what comes of it."""
        return self.adjacent.items()

    iteritems = items

    def format(self, obj: Any) -> Any:
        """Return what stands for a thing."""
        return self.formatter.label(obj)

    def repr_node(self, obj: Any, level: int = 1, fmt: str = "{0}({1})") -> str:
        """Return a thing and what comes of it as lines, indented."""
        lines = [fmt.format(obj, self.valency_of(obj))]
        for one in self.adjacent.get(obj, ()):
            below = self.repr_node(one, level + 1, fmt)
            lines.append(" " * 5 * level + below)
        return "\n".join(lines)

    def to_dot(self, fh: TextIO, formatter: GraphFormatter | None = None) -> None:
        """Write it to a text file in Graphviz's language."""
        draw = formatter or self.formatter
        drawn: set[str] = set()

        def put(line: str) -> None:
            if line not in drawn:
                drawn.add(line)
                print(line, file=fh)

        print(draw.head(), file=fh)
        for obj, found in self.adjacent.items():
            put(draw.node(obj) if found else draw.terminal_node(obj))
        for obj, found in self.adjacent.items():
            for one in found:
                put(draw.edge(obj, one))
        print(draw.tail(), file=fh)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, obj: Hashable) -> list[Any]:
        return self.adjacent[obj]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def __repr__(self) -> str:
        try:
            return "\n".join(self.repr_node(obj) for obj in self)
        except RecursionError:
            return f"<{type(self).__name__}: {len(self)} things, some of them in a circle>"
