"""Tasks whose arguments and result are pydantic models (``pydantic=True``).

The message carries plain data. Where the task runs, data becomes the models that the annotations
name, and a returned model becomes data again; where it is called, a model given as an argument is
dumped. Needs the ``pydantic`` extra; nothing is imported before a task asks for it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MethodType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from umbel.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from umbel.app.task import Task


def with_models(task: Task[..., Any]) -> Callable[..., Any]:
    """Return the task's function, converting arguments and the result by its annotations.

    What does not validate raises pydantic's ValidationError inside the run. Raises
    ImproperlyConfigured when pydantic is missing or an annotation cannot be evaluated.
    """
    run = task.run
    base = _base_model(task.name)
    function = run.__func__ if isinstance(run, MethodType) else run
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise ImproperlyConfigured(
            f"Task {task.name} has pydantic=True, but its annotations cannot be evaluated: "
            f"{error}. Import the names at module level."
        ) from error
    returned = _model_in(hints.pop("return", None), base)
    models = {name: model for name, hint in hints.items() if (model := _model_in(hint, base))}
    signature = inspect.signature(run)

    def convert(args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        given = signature.bind(*args, **kwargs)
        for name, model in models.items():
            value = given.arguments.get(name)
            if value is not None and not isinstance(value, model):
                given.arguments[name] = model.model_validate(
                    value, strict=task.pydantic_strict or None, context=task.pydantic_context
                )
        return given

    def dump(value: Any) -> Any:
        if returned is not None and isinstance(value, returned):
            return value.model_dump(**(task.pydantic_dump_kwargs or {"mode": "json"}))
        return value

    if inspect.iscoroutinefunction(run):

        @functools.wraps(run)
        async def converted_async(*args: Any, **kwargs: Any) -> Any:
            given = convert(args, kwargs)
            return dump(await run(*given.args, **given.kwargs))

        return converted_async

    @functools.wraps(run)
    def converted(*args: Any, **kwargs: Any) -> Any:
        given = convert(args, kwargs)
        return dump(run(*given.args, **given.kwargs))

    return converted


def dumped(
    task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return arguments in which models are plain data, ready for the serializer.

    A model whose dump would not validate back to an equal one is left: better an EncodeError here
    than another value there.
    """
    base = _base_model(task.name)
    return (
        tuple(_plain(value, base) for value in args),
        {name: _plain(value, base) for name, value in kwargs.items()},
    )


def _plain(value: Any, base: type[Any]) -> Any:
    if not isinstance(value, base):
        return value
    data = value.model_dump(mode="json")
    try:
        same = type(value).model_validate(data) == value
    except ValueError:
        return value
    return data if same else value


def _base_model(task_name: str) -> type[Any]:
    try:
        # Here, because it is optional and takes 100 ms.
        base: type[Any] = importlib.import_module("pydantic").BaseModel
    except ImportError as error:
        raise ImproperlyConfigured(
            f"Task {task_name} has pydantic=True, and pydantic is not installed: "
            "pip install 'umbel[pydantic]'."
        ) from error
    return base


def _model_in(hint: Any, base: type[Any]) -> Any:
    """Return the model in an annotation ``Model`` or ``Model | None``; unions are not taken."""
    if get_origin(hint) in (Union, UnionType):
        members = [member for member in get_args(hint) if member is not NoneType]
        if len(members) != 1 or NoneType not in get_args(hint):
            return None
        hint = members[0]
    return hint if isinstance(hint, type) and issubclass(hint, base) else None
