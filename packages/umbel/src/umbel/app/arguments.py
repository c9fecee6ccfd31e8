"""Whether arguments fit a task, told at the call and not hours later in a worker.

Called by ``task`` before a message is made. Pure: it reads the function's signature once and keeps
what the check needs in flat form, so that a call with a few positional arguments costs a quarter of
a microsecond instead of the five that ``inspect.Signature.bind`` takes.

What is checked is the number and the names of the arguments and, where a parameter is annotated
with a plain type, that a plain value of another type is not given for it. What cannot be judged
here (unions of classes, models, type variables, values of any other class) passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from umbel.errors import TaskSignatureMismatch

_PLAIN = frozenset({str, int, float, bool, bytes, list, tuple, dict, NoneType})
"""Values of exactly these classes are judged."""

_FITS: Mapping[type, frozenset[type]] = {
    str: frozenset({str}),
    bytes: frozenset({bytes}),
    bool: frozenset({bool, int}),
    int: frozenset({int, bool}),
    float: frozenset({float, int, bool}),
    # JSON knows one kind of sequence, so a tuple arrives as the list that was asked for.
    list: frozenset({list, tuple}),
    tuple: frozenset({list, tuple}),
    dict: frozenset({dict}),
    NoneType: frozenset({NoneType}),
}


class ArgumentCheck:
    """The parameters of one task, and whether given arguments fit them. Immutable."""

    __slots__ = (
        "_keyword_only",
        "_maximum",
        "_names",
        "_open_keywords",
        "_positional",
        "_refused",
        "_refused_by_position",
        "_required",
        "_required_count",
        "signature",
        "task_name",
    )

    def __init__(
        self, task_name: str, function: Callable[..., Any], *, bound: bool, types: bool
    ) -> None:
        """``bound``: the first parameter is the task itself. ``types``: annotations count too."""
        self.task_name = task_name
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if bound and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            parameters = parameters[1:]
        self.signature = signature.replace(parameters=parameters)
        positional = [
            one
            for one in parameters
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
        self._positional = tuple(one.name for one in positional)
        open_positions = any(one.kind is one.VAR_POSITIONAL for one in parameters)
        self._maximum = 1 << 30 if open_positions else len(positional)
        self._open_keywords = any(one.kind is one.VAR_KEYWORD for one in parameters)
        self._names = frozenset(
            one.name
            for one in parameters
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        )
        self._required = tuple(one.name for one in positional if one.default is one.empty)
        self._required_count = len(self._required)
        self._keyword_only = frozenset(
            one.name
            for one in parameters
            if one.kind is one.KEYWORD_ONLY and one.default is one.empty
        )
        self._refused = _refused_types(function, parameters) if types else {}
        self._refused_by_position = (
            tuple(self._refused.get(name, frozenset()) for name in self._positional)
            if self._refused
            else ()
        )

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TaskSignatureMismatch, naming the problem and the signature, unless they fit."""
        if kwargs or self._keyword_only:
            fits = self._fits(args, kwargs)
        else:
            fits = self._required_count <= len(args) <= self._maximum
        if not fits:
            raise self._mismatch(args, kwargs)
        if self._refused:
            for value, refused in zip(args, self._refused_by_position, strict=False):
                if type(value) in refused:
                    raise self._wrong_types(args, kwargs)
            if kwargs:
                for name, value in kwargs.items():
                    if name in self._refused and type(value) in self._refused[name]:
                        raise self._wrong_types(args, kwargs)

    def _fits(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        given = len(args)
        if given > self._maximum:
            return False
        for name in self._required[given:]:
            if name not in kwargs:
                return False
        for name in kwargs:
            if name in self._names:
                if name in self._positional[:given]:
                    return False
            elif not self._open_keywords:
                return False
        return all(name in kwargs for name in self._keyword_only)

    def _mismatch(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskSignatureMismatch:
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            problem = str(error)
        else:
            problem = "the arguments do not fit"
        return self._error(problem)

    def _wrong_types(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskSignatureMismatch:
        given = dict(zip(self._positional, args, strict=False), **kwargs)
        for name, refused in self._refused.items():
            if name in given and type(given[name]) in refused:
                wanted = self.signature.parameters[name].annotation
                wanted = wanted if isinstance(wanted, str) else inspect.formatannotation(wanted)
                return self._error(
                    f"{name!r} is to be {wanted} and got {_shown(given[name])} "
                    f"({type(given[name]).__name__})"
                )
        raise AssertionError("called although every type fits")

    def _error(self, problem: str) -> TaskSignatureMismatch:
        return TaskSignatureMismatch(
            f"Task {self.task_name} was not sent: {problem}. "
            f"Its signature is {self.task_name.rpartition('.')[2]}{_readable(self.signature)}."
        )


class _Source:
    """An annotation that was never evaluated, shown as it stands in the source."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _readable(signature: inspect.Signature) -> inspect.Signature:
    def shown(annotation: Any) -> Any:
        return _Source(annotation) if isinstance(annotation, str) else annotation

    return signature.replace(
        parameters=[
            one.replace(annotation=shown(one.annotation)) for one in signature.parameters.values()
        ],
        return_annotation=shown(signature.return_annotation),
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refused_types(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter]
) -> dict[str, frozenset[type]]:
    """Return for each parameter the plain types that certainly do not fit it."""
    names = getattr(inspect.unwrap(function), "__globals__", {})
    refused: dict[str, frozenset[type]] = {}
    for one in parameters:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) or one.annotation is one.empty:
            continue
        fits = _fitting(_evaluated(one.annotation, names))
        if fits is not None:
            # ``x: int = None`` is written everywhere and means that None may be given.
            refused[one.name] = _PLAIN - fits - {type(one.default)}
    return refused


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """Return what an annotation means; Any where that cannot be found out here."""
    if not isinstance(annotation, str):
        return annotation
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, globalns=names)["it"]
    except Exception:  # noqa: BLE001 - an annotation may be anything, and judges nothing then
        return Any


def _fitting(hint: Any) -> frozenset[type] | None:
    """Return the plain types that fit an annotation, or None where that cannot be told."""
    if hint is None:
        hint = NoneType
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        each = [_fitting(member) for member in get_args(hint)]
        if any(one is None for one in each):
            return None
        return frozenset().union(*(one for one in each if one is not None))
    return _FITS.get(hint if origin is None else origin)
