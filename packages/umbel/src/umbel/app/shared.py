"""``shared_task``, ``current_app`` and ``current_task``: tasks and names without an app at hand.

For libraries and reusable packages, which are imported before anybody knows which app there will
be. Each is a thin proxy: what is done to it is done to the current app's own object.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

from umbel.app import context, current, making
from umbel.app.app import App
from umbel.app.decorating import BoundTaskDecorator, TaskDecorator
from umbel.app.task import AsyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class Proxy:
    """Stands for an object that is looked up at every use."""

    __slots__ = ("__dict__", "_find")

    def __init__(self, find: Callable[[], Any]) -> None:
        object.__setattr__(self, "_find", find)

    def _get_current_object(self) -> Any:
        """Return the object itself."""
        return self._find()

    @property
    def __class__(self) -> Any:
        return type(self._find())

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise TypeError("the class of a proxy is that of what it stands for")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._find(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._find(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._find()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._find())

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            other = other._find()
        return bool(self._find() == other)

    def __hash__(self) -> int:
        return hash(self._find())

    def __dir__(self) -> list[str]:
        return dir(self._find())

    def __repr__(self) -> str:
        return repr(self._find())

    def __str__(self) -> str:
        return str(self._find())

    def __reduce__(self) -> Any:
        return self._find().__reduce__()


class SharedTask(Proxy):
    """A task that every app has; stands for the current app's."""

    __slots__ = ()


current_app: App = cast("App", Proxy(current.get_current_app))
"""The current app; one with default settings is made where the program made none."""


def _running_task() -> Any:
    running = context.current.get()
    return None if running is None else running.task


current_task: Task[..., Any] = cast("Task[..., Any]", Proxy(_running_task))
"""The task running here; false when none is."""


@overload
def shared_task(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
@overload
def shared_task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(*, bind: Literal[True], **options: Any) -> BoundTaskDecorator: ...
@overload
def shared_task(*, bind: Literal[False] = False, **options: Any) -> TaskDecorator: ...
@overload
def shared_task(function: Callable[..., Any], /, **options: Any) -> Task[..., Any]: ...
def shared_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a task that belongs to every app, present and future; options as ``app.task``.

    Each app has its own; calling and sending go to the current app's. Raises TypeError for what is
    a task already.
    """
    if function is not None:
        return _share(function, options)
    return lambda decorated: _share(decorated, options)


def _share(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    if isinstance(function, Task) or type(function) is SharedTask:
        raise TypeError(f"{function!r} is a task already: shared_task decorates plain functions.")
    current.share(lambda app: making.make_task(app, function, options))

    def find() -> Any:
        app = current.get_current_app()
        name = options.get("name") or app.gen_task_name(function.__name__, function.__module__)
        return app.tasks[name]

    return SharedTask(find)
