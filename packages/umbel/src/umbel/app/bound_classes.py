"""Classes of handles that know their app: ``app.AsyncResult``, ``app.GroupResult``, ...

Made by ``familiar`` for each app. Such a thing is called, asked (``restore``), subclassed and used
with ``isinstance`` like the class itself; what it makes belongs to the app. It is no class of its
own, so that handles can be pickled.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from umbel.app.app import App

T = TypeVar("T")


class BoundClass(Generic[T]):
    """A class with the app filled in. Immutable; any thread may use it."""

    __slots__ = ("__wrapped__", "_app", "_with_app")

    def __init__(self, cls: type[T], app: App, with_app: tuple[str, ...] = ()) -> None:
        """``with_app`` names the class methods that take the app as well."""
        self.__wrapped__ = cls
        self._app = app
        self._with_app = with_app

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Make one. Arguments as the class takes them, without the app."""
        kwargs.setdefault("app", self._app)
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__wrapped__, name)
        return partial(found, app=self._app) if name in self._with_app else found

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.__wrapped__)

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.__wrapped__)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self.__wrapped__,)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BoundClass):
            return self.__wrapped__ is other.__wrapped__ and self._app is other._app
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.__wrapped__, id(self._app)))

    def __repr__(self) -> str:
        return f"<{self.__wrapped__.__name__} bound to {self._app!r}>"
