"""``celery.local``: objects that stand for others."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from umbel.app.shared import Proxy as _Proxy


class Proxy(_Proxy):
    """Stands for what ``local()`` returns, asked at every use."""

    __slots__ = ()

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,  # noqa: ARG002 - Celery's
        __doc__: str | None = None,  # noqa: A002, ARG002 - as above
    ) -> None:
        super().__init__(lambda: local(*(args or ()), **(kwargs or {})))


class PromiseProxy(Proxy):
    """Stands for what ``local()`` returned when it was first needed."""

    __slots__ = ()

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        __doc__: str | None = None,  # noqa: A002, ARG002 - as above
    ) -> None:
        known: list[Any] = []

        def once() -> Any:
            if not known:
                known.append(local(*(args or ()), **(kwargs or {})))
            return known[0]

        super().__init__(once, name=name)


class class_property:  # noqa: N801 - Celery's name
    """A property of the class itself."""

    def __init__(self, getter: Callable[[Any], Any] | None = None, setter: Any = None) -> None:
        self._get, self._set = getter, setter

    def __get__(self, obj: Any, owner: Any = None) -> Any:
        return self if self._get is None else self._get(owner if owner is not None else type(obj))


def try_import(module: str, default: Any = None) -> Any:
    """Return a module, or the default where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


def maybe_evaluate(obj: Any) -> Any:
    """Return what a proxy stands for; anything else as it is."""
    return object.__getattribute__(obj, "_find")() if type(obj) in (Proxy, PromiseProxy) else obj


__all__ = ["PromiseProxy", "Proxy", "class_property", "maybe_evaluate", "try_import"]
