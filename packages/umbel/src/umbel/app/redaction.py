"""Which arguments of a task are not shown: by the names in ``task_redact``, and by annotation.

A message says twice what a task is called with: in its body, which the task gets, and in the
headers ``argsrepr`` and ``kwargsrepr``, which logs, events, monitors and reprs show. This module
decides on the second. Called by ``send_plan``, once per task, and by ``task``. Pure.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from umbel.wire.reprs import MASK, safe_repr


class Secret:
    """Marks an argument, or what a task returns, as nothing to show: ``Annotated[str, Secret]``.

    The task gets the value; logs, events, monitors and reprs get stars. It does not encrypt: the
    value is in the message and, where it is returned, in the result.
    """


class _Masked:
    """What is shown in the place of a value."""

    def __repr__(self) -> str:
        return MASK


_MASKED = _Masked()


@functools.lru_cache(maxsize=64)
def name_pattern(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return what matches the names of arguments that are not shown; ``*`` stands for any text."""
    if not names:
        return None
    return re.compile("|".join(translate(name.lower()) for name in names))


class Redaction:
    """What is shown of the arguments of one task. Immutable; any thread."""

    __slots__ = ("_hides", "_names", "_open", "_positions", "hides_result")

    def __init__(
        self,
        hides: re.Pattern[str] | None,
        function: Callable[..., Any] | None = None,
        *,
        bound: bool = False,
    ) -> None:
        """``function`` is None where only the task's name is known.

        ``bound``: its first parameter is the task itself.
        """
        self._hides = hides
        self._open = True
        self._names: frozenset[str] = frozenset()
        self._positions: frozenset[int] = frozenset()
        self.hides_result = False
        if function is not None:
            self._read(function, bound)

    def _read(self, function: Callable[..., Any], bound: bool) -> None:
        parameters = list(_signature(function).parameters.values())[1 if bound else 0 :]
        marked = marked_names(function)
        self.hides_result = "return" in marked
        hidden = {one.name for one in parameters if one.name in marked or self._is_named(one.name)}
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        by_position = [one.name for one in parameters if one.kind in kinds]
        self._names = frozenset(hidden)
        self._positions = frozenset(
            index for index, name in enumerate(by_position) if name in hidden
        )
        self._open = any(one.kind is one.VAR_KEYWORD for one in parameters)

    def _is_named(self, name: str) -> bool:
        return self._hides is not None and self._hides.match(name.lower()) is not None

    def __bool__(self) -> bool:
        """Tell whether any call can have something to hide."""
        return bool(self._names) or (self._open and self._hides is not None)

    def hides(self, name: str) -> bool:
        """Tell whether the argument of this name is not shown."""
        return name in self._names or (self._open and self._is_named(name))

    def shown(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], maxlevels: int = 3
    ) -> tuple[str | None, str | None]:
        """Return how the arguments are shown; None for those that have nothing to hide."""
        masked_args, masked_kwargs = self.masked(args, kwargs)
        return (
            None if masked_args is args else safe_repr(masked_args, maxlevels=maxlevels),
            None if masked_kwargs is kwargs else safe_repr(masked_kwargs, maxlevels=maxlevels),
        )

    def masked(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments with stars for what is hidden; themselves where nothing is."""
        if any(index < len(args) for index in self._positions):
            given = [
                _MASKED if index in self._positions else value for index, value in enumerate(args)
            ]
            args = given if isinstance(args, list) else tuple(given)
        named = [name for name in kwargs if self.hides(str(name))] if kwargs else ()
        if named:
            kwargs = {**kwargs, **dict.fromkeys(named, _MASKED)}
        return args, kwargs


def marked_names(function: Callable[..., Any]) -> frozenset[str]:
    """Return the parameters annotated with ``Secret``, and ``return`` where the result is."""
    names = getattr(inspect.unwrap(function), "__globals__", {})
    annotations = getattr(function, "__annotations__", {})
    return frozenset(name for name, one in annotations.items() if _is_secret(one, names))


def _is_secret(annotation: Any, names: dict[str, Any]) -> bool:
    if isinstance(annotation, str):
        holder = SimpleNamespace(__annotations__={"it": annotation})
        try:
            annotation = get_type_hints(holder, globalns=names, include_extras=True)["it"]
        except Exception:  # noqa: BLE001 - an annotation may be anything
            # Names that exist for type checkers only. What cannot be read and says so is hidden.
            return re.search(r"\bSecret\b", annotation) is not None
    if get_origin(annotation) is Annotated:
        marks = get_args(annotation)[1:]
        if any(one is Secret or isinstance(one, Secret) for one in marks):
            return True
    return any(_is_secret(one, names) for one in get_args(annotation) if get_origin(one))


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return inspect.Signature()
