"""Making tasks out of functions and classes, and binding them to their app's configuration.

Called by ``App.task``, ``shared_task``, ``App.register_task`` and ``App.finalize``. A task exists
as soon as it is decorated; what the configuration has to say about it (annotations) waits for
finalization, so that decorating reads no configuration.
"""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from umbel.app.routing import symbol
from umbel.app.task import HOOKS, AsyncTask, Task
from umbel.app.task_attributes import FromSettings, TaskAttributes
from umbel.errors import (
    AlreadyRegistered,
    DuplicateTaskNameWarning,
    ImproperlyConfigured,
    UnknownOptionWarning,
)

if TYPE_CHECKING:
    from umbel.app.app import App

_MAKING = frozenset({"name", "base", "bind", "filter", "lazy", "abstract"})
"""Options of the decorator that are not attributes of the task."""

_OPTIONS = (*(one for one in vars(TaskAttributes) if not one.startswith("_")), *HOOKS, *_MAKING)
"""What is known, to tell a slip from an attribute of the user's own."""


def name_in(app: App, name: str, module: str) -> str:
    """Return the automatic name of a task: its module's and its own.

    For the script that is being run the module has no name that another process could import: the
    app's ``main`` stands in, or else the name under which the script would be imported.
    """
    if module == "__main__":
        module = app.main or _name_of_script()
    return ".".join(part for part in (module, name) if part)


def _name_of_script() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    path = getattr(main, "__file__", None)
    return os.path.splitext(os.path.basename(path))[0] if path else "__main__"


# --- from a function ------------------------------------------------------------------------------


def make_task(
    app: App, function: Callable[..., Any], options: Mapping[str, Any], *, lent: bool = False
) -> Any:
    """Return the app's task for this function, registered. Options as in the decorator.

    A task ``lent`` by another app gives way to one that has the name already.
    Raises AlreadyRegistered when another function has the name (profile ``umbel``); in the profile
    ``celery`` the first one keeps it, with a DuplicateTaskNameWarning.
    """
    if not callable(function):
        raise TypeError(f"app.task decorates functions, and got {function!r}.")
    given = {name: value for name, value in options.items() if _is_given(name, value)}
    keep = given.get("filter")
    name = given.get("name") or app.gen_task_name(
        getattr(function, "__name__", type(function).__name__), function.__module__
    )
    existing = dict.get(app.registry, name)
    if existing is not None and lent:
        return existing
    if existing is not None and not _is_made_from(existing, function):
        if app.profile == "umbel":
            raise AlreadyRegistered(_duplicate(name, existing, function))
        warnings.warn(
            _duplicate(name, existing, function) + " The first one keeps it.",
            DuplicateTaskNameWarning,
            stacklevel=4,
        )
        return existing
    task = _new(app, function, name, given)
    register(app, task)
    return keep(task) if keep is not None else task


def _is_given(name: str, value: Any) -> bool:
    """Tell whether an option says anything: None may be a value (``max_retries``) or nothing."""
    if value is not None:
        return True
    nothing = name in _MAKING or name in HOOKS
    return not nothing and not isinstance(vars(TaskAttributes).get(name), FromSettings)


def _new(
    app: App, function: Callable[..., Any], name: str, options: Mapping[str, Any]
) -> Task[..., Any]:
    bound = bool(options.get("bind"))
    cls = app.class_for_tasks(options.get("base"), function)
    task: Task[..., Any] = cls.__new__(cls)
    run = MethodType(function, task) if bound else function
    task.__dict__.update(
        app=app,
        name=name,
        bound=bound,
        run=run,
        __wrapped__=run,
        __name__=getattr(function, "__name__", name),
        __qualname__=getattr(function, "__qualname__", name),
        __module__=function.__module__,
        __doc__=function.__doc__,
    )
    task.__init__()  # type: ignore[misc]  # after the name and the app: a subclass may read them
    attributes = {key: value for key, value in options.items() if key not in _MAKING}
    _warn_of_slips(name, attributes, cls)
    task.attach(app, attributes)
    return task


def _is_made_from(task: Task[..., Any], function: Callable[..., Any]) -> bool:
    """Tell whether this is the same function, perhaps defined again (a reload, a notebook)."""
    own = getattr(task, "__wrapped__", None)
    own = getattr(own, "__func__", own)
    if own is function:
        return True
    return (
        isinstance(function, FunctionType)
        and getattr(own, "__module__", None) == function.__module__
        and getattr(own, "__qualname__", None) == function.__qualname__
    )


def _duplicate(name: str, existing: Task[..., Any], function: object) -> str:
    def where(thing: Any) -> str:
        thing = getattr(thing, "__wrapped__", thing)
        return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', thing)}"

    return (
        f"Two tasks claim the name {name!r}: {where(existing)} and {where(function)}. Give one of "
        "them another name=."
    )


def _warn_of_slips(name: str, attributes: Mapping[str, Any], cls: type[Any]) -> None:
    """Unknown options become attributes, as they should; but not one that is a misspelt option."""
    for given in attributes:
        if hasattr(cls, given):
            continue
        close = difflib.get_close_matches(given, _OPTIONS, n=1, cutoff=0.8)
        if close:
            warnings.warn(
                f"Task {name}: {given!r} is no option, so it only becomes an attribute. Did you "
                f"mean {close[0]!r}?",
                UnknownOptionWarning,
                stacklevel=6,
            )


# --- from a class ---------------------------------------------------------------------------------


def adopt(app: App, given: Task[..., Any] | type[Task[..., Any]]) -> Task[..., Any]:
    """Register a class-based task, instance or class; one that has its name is replaced."""
    task = given() if isinstance(given, type) else given
    if not isinstance(task, Task):
        raise TypeError(f"app.register_task takes a Task, and got {given!r}.")
    if not task.name:
        cls = type(task)
        object.__setattr__(task, "name", app.gen_task_name(cls.__name__, cls.__module__))
    existing = dict.get(app.registry, task.name)
    if existing is not None and type(existing) is not type(task):
        warnings.warn(
            f"Task name {task.name!r} is taken over: {existing!r} is replaced by {task!r}.",
            DuplicateTaskNameWarning,
            stacklevel=3,
        )
    task.attach(app, {})
    register(app, task)
    return task


def register(app: App, task: Task[..., Any]) -> None:
    """Enter a task, and bind it if the app is past finalization."""
    app.registry.register(task)
    if app.finalized:
        bind(app, task)


# --- configuration --------------------------------------------------------------------------------


def bind(app: App, task: Task[..., Any]) -> None:
    """Apply what the configuration says about this task, once."""
    if task.__dict__.get("_is_bound"):
        return
    task.__dict__["_is_bound"] = True
    for annotation in _annotations(app.settings.task_annotations, task):
        for name, value in annotation.items():
            if name.startswith("@"):
                task.add_around(name[1:], value)
            else:
                task.set_attribute(name, value)
    task.check_delivery()
    task.on_bound(app)


def _annotations(given: Any, task: Task[..., Any]) -> list[Mapping[str, Any]]:
    """Return what ``task_annotations`` has for a task: for every task first, its own after that."""
    if not given:
        return []
    found: list[Mapping[str, Any]] = []
    for one in given if isinstance(given, list | tuple) else [given]:
        source = symbol(one, "task_annotations") if isinstance(one, str) else one
        source = source() if isinstance(source, type) else source
        if isinstance(source, Mapping):
            found += [source[key] for key in ("*", task.name) if source.get(key)]
            continue
        for method in ("annotate_any", "annotate"):
            ask = getattr(source, method, None)
            if ask is not None:
                answer = ask() if method == "annotate_any" else ask(task)
                found += [answer] if answer else []
        if not hasattr(source, "annotate"):
            raise ImproperlyConfigured(
                f"task_annotations: {one!r} is neither a mapping of task names to attributes nor "
                "an object with annotate(task)."
            )
    return found


def class_from(base: Any) -> type[Task[..., Any]]:
    """Return the class that ``base=`` or ``task_cls=`` names. Raises TypeError for other things."""
    found = symbol(base, "the base class of a task") if isinstance(base, str) else base
    if not isinstance(found, type) or not issubclass(found, Task):
        raise TypeError(f"{base!r} is not a subclass of Task, so it cannot be the base of one.")
    return cast("type[Task[..., Any]]", found)


def bound_class(app: App, base: type[Task[..., Any]], *, is_async: bool) -> type[Task[..., Any]]:
    """Return the class whose instances belong to this app: ``app.Task``."""
    root = AsyncTask if is_async and base is Task else base
    made: Any = type(root.__name__, (root,), {"app": app, "__module__": root.__module__})
    return cast("type[Task[..., Any]]", made)
