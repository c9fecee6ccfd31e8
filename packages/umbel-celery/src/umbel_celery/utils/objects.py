"""``celery.utils.objects``: a namespace, and properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any


class Bunch:
    """An object whose attributes are the keywords it was made with."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


class FallbackContext:
    """``with`` what is given, or else what ``fallback`` makes."""

    def __init__(
        self, provided: Any, fallback: Callable[..., Any], *fb_args: Any, **fb_kwargs: Any
    ) -> None:
        self.provided = provided
        self._make: Callable[[], Any] = lambda: fallback(*fb_args, **fb_kwargs)
        self._made: Any = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        self._made = self._make()
        return self._made.__enter__()

    def __exit__(self, *exc_info: object) -> Any:
        return None if self._made is None else self._made.__exit__(*exc_info)


class getitem_property:  # noqa: N801 - Celery's name
    """An attribute that is an item of the object, at a dotted path of keys."""

    def __init__(self, keypath: str, doc: str | None = None) -> None:
        self._path = keypath.split(".")
        self.__doc__ = doc

    def __get__(self, obj: Any, owner: Any = None) -> Any:
        if obj is None:
            return self
        for key in self._path[:-1]:
            obj = obj.get(key)
        return obj.get(self._path[-1])

    def __set__(self, obj: Any, value: Any) -> None:
        for key in self._path[:-1]:
            obj = obj[key]
        obj[self._path[-1]] = value


__all__ = ["Bunch", "FallbackContext", "cached_property", "getitem_property"]
