"""GroupResult: a set of results that has an id, and can be saved under it.

Made by groups, by result tuples and by ``restore``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, cast

from umbel.app.result_reading import ResultHome
from umbel.app.result_sets import ResultSet
from umbel.app.result_trees import ResultBase, as_tuple_or_none, result_from_tuple
from umbel.errors import BackendGetMetaError
from umbel.ports import ResultBackend
from umbel.wire.serializers import SERIALIZERS
from umbel.workflows import binding
from umbel.workflows.binding import R


class GroupResult(ResultSet[R]):
    """A ResultSet with an id, which can be saved under it and found again."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - Celery's name
        results: Iterable[Any] = (),
        parent: ResultBase | None = None,
        app: ResultHome | None = None,
        **_: Any,
    ) -> None:
        super().__init__(results, app=app)
        self.id = id
        self.parent = parent

    def save(self, backend: ResultBackend | None = None) -> Self:
        """Remember the members under the group's id, as long as results are kept."""
        settings = self.app.settings
        document = SERIALIZERS.get(settings.result_serializer).dumps({"result": self.as_tuple()})
        expires = settings.result_expires or None
        (backend or self.backend).store_group(str(self.id), document, expires)
        return self

    def delete(self, backend: ResultBackend | None = None) -> None:
        """Forget the members that ``save`` remembered. The results stay."""
        (backend or self.backend).forget_group(str(self.id))

    @classmethod
    def restore(
        cls,
        id: str,  # noqa: A002 - Celery's name
        backend: ResultBackend | None = None,
        app: ResultHome | None = None,
    ) -> GroupResult[Any] | None:
        """Return the group saved under this id, or None."""
        home = app if app is not None else cast("ResultHome", binding.current())
        document = (backend or home.result_backend).fetch_group(id)
        if document is None:
            return None
        stored = SERIALIZERS.get(home.settings.result_serializer).loads(document)
        try:
            return cast("GroupResult[Any]", result_from_tuple(stored["result"], home))
        except (KeyError, TypeError, ValueError) as error:
            raise BackendGetMetaError(f"what is saved as group {id} is not a group") from error

    def as_tuple(self) -> tuple[Any, list[Any]]:
        """Return the form in which a group travels."""
        return (self.id, as_tuple_or_none(self.parent)), [one.as_tuple() for one in self.results]

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return bool(
                other.id == self.id
                and other.results == self.results
                and other.parent == self.parent
            )
        return self.id == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        members = ", ".join(str(one.id) for one in self.results)
        return f"<{type(self).__name__}: {self.id} [{members}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, self.results, self.parent)
