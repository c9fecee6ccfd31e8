"""``celery.utils.functional``: iterables, lazy values, looking at functions."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def is_list(obj: object) -> bool:
    """Tell whether it is an iterable that is neither text nor a mapping."""
    return isinstance(obj, Iterable) and not isinstance(obj, Mapping | str)


def maybe_list(obj: Any) -> Any:
    """Return lists and None as they are, anything else as a list of one."""
    return obj if obj is None or is_list(obj) else [obj]


def chunks(it: Iterator[T], n: int) -> Iterator[list[T]]:
    """Yield lists of ``n`` items; the last one may be shorter."""
    for first_one in it:
        yield [first_one, *itertools.islice(it, n - 1)]


def first(predicate: Callable[[T], Any] | None, it: Iterable[T]) -> T | None:
    """Return the first item that the predicate holds for (that is not None), or None."""
    holds = predicate if predicate is not None else lambda item: item is not None
    return next((item for item in it if holds(item)), None)


def firstmethod(method: str, on_call: Any = None) -> Callable[..., Any]:
    """Return a function that asks objects in turn and returns the first answer that is not None."""

    def ask(objects: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for each in objects:
            found = maybe_evaluate(each)
            call = getattr(found, method)
            answer = on_call(call, *args, **kwargs) if on_call else call(*args, **kwargs)
            if answer is not None:
                return answer
        return None

    return ask


def padlist(container: list[T], size: int, default: Any = None) -> list[Any]:
    """Return the first ``size`` items, filled up with ``default``."""
    return [*container[:size], *([default] * (size - len(container)))]


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """Return a function that makes a mapping of these attributes, None where one is missing."""
    return lambda obj: {each: getattr(obj, each, None) for each in attrs}


def uniq(it: Iterable[T]) -> Iterator[T]:
    """Yield every item the first time it comes."""
    seen: set[Any] = set()
    for item in it:
        if item not in seen:
            seen.add(item)
            yield item


def regen(it: Any) -> Any:
    """Return something that can be iterated over more than once: lists as they are."""
    return it if isinstance(it, list | tuple) else list(it)


def dictfilter(d: Mapping[str, Any] | None = None, **kw: Any) -> dict[str, Any]:
    """Return the mapping without the keys whose value is None."""
    return {key: value for key, value in {**(d or {}), **kw}.items() if value is not None}


class lazy:  # noqa: N801 - Celery's name
    """A value that is computed when it is asked for, each time anew."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._call = functools.partial(fun, *args, **kwargs)

    def __call__(self) -> Any:
        return self.evaluate()

    def evaluate(self) -> Any:
        """Return the value."""
        return self._call()

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, other: object) -> bool:
        return bool(self() == other)

    def __hash__(self) -> int:
        return id(self)


class mlazy(lazy):  # noqa: N801 - Celery's name
    """A value that is computed once, when it is first asked for."""

    _known: tuple[Any] | None = None

    def evaluate(self) -> Any:
        """Return the value."""
        if self._known is None:
            self._known = (super().evaluate(),)
        return self._known[0]


def maybe_evaluate(value: Any) -> Any:
    """Return what a lazy value stands for; anything else as it is."""
    return value.evaluate() if isinstance(value, lazy) else value


def maybe(typ: Callable[[Any], T], val: Any) -> T | None:
    """Return ``typ(val)``, or None for None."""
    return None if val is None else typ(val)


class LRUCache(OrderedDict[Any, Any]):
    """A mapping that forgets what was used longest ago when it has more than ``limit`` items."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while self.limit is not None and len(self) > self.limit:
            self.popitem(last=False)


def memoize(
    maxsize: int | None = None,
    keyfun: Callable[..., Hashable] | None = None,
    Cache: Callable[..., Any] = LRUCache,  # noqa: N803 - Celery's name
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorate a function so that it remembers its answers, at most ``maxsize`` of them."""

    def decorate(fun: Callable[..., T]) -> Callable[..., T]:
        cache = Cache(limit=maxsize)

        @functools.wraps(fun)
        def remembering(*args: Any, **kwargs: Any) -> T:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            try:
                found: T = cache[key]
            except KeyError:
                found = cache[key] = fun(*args, **kwargs)
            return found

        remembering.clear = cache.clear  # type: ignore[attr-defined]  # as functools.cache has it
        return remembering

    return decorate


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Tell whether a function takes arbitrary keywords."""
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(fun).parameters.values())


def arity_greater(fun: Callable[..., Any], n: int) -> bool:
    """Tell whether a function takes more than ``n`` positional arguments."""
    parameters = inspect.signature(fun).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds for one in parameters) > n


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Callable[..., None]:
    """Return a function that only checks that arguments fit; raises TypeError."""
    signature = inspect.signature(fun)
    if bound:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])

    def check(*args: Any, **kwargs: Any) -> None:
        signature.bind(*args, **kwargs)

    return check


def seq_concat_item(seq: Any, item: Any) -> Any:
    """Return a sequence of the same kind with this item behind the others."""
    return type(seq)((*seq, item))


def seq_concat_seq(a: Any, b: Any) -> Any:
    """Return both sequences as one, of the kind of the longer."""
    return type(a if len(a) >= len(b) else b)((*a, *b))


def lookahead(it: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    """Yield every item with the one behind it; None behind the last."""
    a, b = itertools.tee(it)
    next(b, None)
    return itertools.zip_longest(a, b)


__all__ = [
    "LRUCache",
    "arity_greater",
    "attrgetter",
    "chunks",
    "dictfilter",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "head_from_fun",
    "is_list",
    "lazy",
    "lookahead",
    "mattrgetter",
    "maybe",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "regen",
    "seq_concat_item",
    "seq_concat_seq",
    "uniq",
]
