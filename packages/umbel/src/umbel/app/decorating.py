"""The decorator ``app.task``, typed so that the task has its function's own signature.

The base of ``App`` for that method alone. Type checkers see the parameters of the function in
``delay`` and the type of its value in the result; see tests/types.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from umbel.app.task import AsyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What ``app.task(...)`` returns: it turns a function into a task."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any: ...


class BoundTaskDecorator(Protocol):
    """What ``app.task(bind=True)`` returns: the function's first argument is the task itself."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any: ...


class Decorating(ABC):
    """``app.task``."""

    @abstractmethod
    def make_task(self, function: Callable[..., Any], options: dict[str, Any]) -> Any:
        """Return the task for a function."""

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, /, *, bind: Literal[True], **options: Any) -> BoundTaskDecorator: ...
    @overload
    def task(self, /, *, bind: Literal[False] = False, **options: Any) -> TaskDecorator: ...
    @overload
    def task(self, function: Callable[..., Any], /, **options: Any) -> Task[..., Any]: ...
    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function as a task of this app; use it bare or with options.

        ``name``; ``bind``: the task is the first argument; ``base``: its class; every attribute of
        ``app.task_attributes`` (``max_retries``, ``queue``, ``acks_late``, ...); hooks such as
        ``on_failure``. Other keywords become attributes of the task. Raises AlreadyRegistered.
        """
        if function is not None:
            return self.make_task(function, options)
        return lambda decorated: self.make_task(decorated, options)
