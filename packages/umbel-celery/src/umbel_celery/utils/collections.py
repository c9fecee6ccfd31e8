"""``celery.utils.collections``: mappings with attributes."""

from __future__ import annotations

from collections import ChainMap, OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any


class AttributeDictMixin:
    """Items as attributes, for mappings."""

    __getitem__: Any
    __setitem__: Any

    def __getattr__(self, k: str) -> Any:
        try:
            return self[k]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {k!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


class AttributeDict(AttributeDictMixin, dict[str, Any]):
    """A dictionary whose items are attributes too."""


class DictAttribute(MutableMapping[str, Any]):
    """An object's attributes as a mapping."""

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    obj: Any

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __delitem__(self, key: str) -> None:
        delattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    def __len__(self) -> int:
        return len(dir(self.obj))

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)


def force_mapping(m: Any) -> Any:
    """Return an object that is no mapping as one of its attributes."""
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(L: MutableMapping[Any, Any], R: Mapping[Any, Any]) -> Any:  # noqa: N803 - Celery's names
    """Put the items of the second into the first, but for those that are None."""
    L.update({key: value for key, value in R.items() if value is not None})
    return L


__all__ = [
    "AttributeDict",
    "AttributeDictMixin",
    "ChainMap",
    "DictAttribute",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
]
