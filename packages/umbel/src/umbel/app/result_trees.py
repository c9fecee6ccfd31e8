"""What led to a run and what came of it: parents, children, and handles as plain tuples.

``ResultTree`` is mixed into ``AsyncResult`` and nothing else; the functions serve every handle.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from umbel.app.result_reading import ResultHome
from umbel.errors import IncompleteStream
from umbel.workflows import binding

if TYPE_CHECKING:
    from umbel.app.handles import AsyncResult


class ResultBase:
    """Base of every handle: of one run, of several, or of an eager one."""

    __slots__ = ()

    parent: ResultBase | None
    """What had to run before this, in a chain."""


class ResultTree(ResultBase):
    """A run as a node of the tree that it and its children make."""

    __slots__ = ()

    id: str

    @property
    @abstractmethod
    def app(self) -> ResultHome:
        """The app that reads it."""

    @abstractmethod
    def _get_meta(self) -> Mapping[str, Any]:
        """Return the document that is stored now."""

    @property
    def children(self) -> list[Any] | None:
        """Handles on what this run sent, or None while nothing is stored."""
        stored = self._get_meta().get("children")
        if stored is None:
            return None
        return [result_from_tuple(one, app=self.app) for one in stored]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Walk the tree below this run, as pairs of a parent and its child.

        Raises IncompleteStream at a run that is not over, unless ``intermediate``.
        """
        queue: deque[tuple[Any, Any]] = deque([(None, self)])
        while queue:
            parent, node = queue.popleft()
            yield parent, node
            if node.ready():
                queue.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream(f"{node!r} is not finished, so its children are not known")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Walk the tree below this run as pairs of a handle and its value; options as ``get``."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """Return the value of the last run in the tree."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def as_tuple(self) -> tuple[tuple[str, Any], None]:
        """Return the form in which a handle travels."""
        return (self.id, as_tuple_or_none(self.parent)), None

    def as_list(self) -> list[str]:
        """Return the ids of this run and of those before it."""
        ids = [self.id]
        if isinstance(self.parent, ResultTree):
            ids.extend(self.parent.as_list())
        return ids


def leaves_of(result: ResultBase) -> Iterator[AsyncResult[Any]]:
    """Walk the single runs below a handle that have something to wait for."""
    if isinstance(result, ResultTree):
        yield cast("AsyncResult[Any]", result)
    for one in getattr(result, "results", ()):
        yield from leaves_of(one)


def as_tuple_or_none(result: ResultBase | None) -> Any:
    """Return the tuple of a parent, if there is one."""
    return None if result is None else result.as_tuple()  # type: ignore[attr-defined]  # each has it


def result_from_tuple(stored: Any, app: ResultHome | None = None) -> Any:
    """Return the handle that this tuple describes; handles are returned as they are.

    Also reads the bare id of old peers. The app is the current one unless given.
    """
    if isinstance(stored, ResultBase):
        return stored
    home = app if app is not None else cast("ResultHome", binding.current())
    if isinstance(stored, str):
        return home.AsyncResult(stored)
    reference, nodes = stored
    own_id, parent = reference if isinstance(reference, list | tuple) else (reference, None)
    if parent is not None:
        parent = result_from_tuple(parent, home)
    if nodes is None:
        return home.AsyncResult(own_id, parent=parent)
    members = [result_from_tuple(one, home) for one in nodes]
    return home.GroupResult(own_id, members, parent=parent)
