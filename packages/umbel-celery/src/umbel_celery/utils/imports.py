"""``celery.utils.imports``: modules and what is in them, by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from umbel.app.making import name_in


class NotAPackage(Exception):
    """What was to be a package is a plain module."""


def qualname(obj: Any) -> str:
    """Return the full name of a class, or of an object's class."""
    cls = obj if hasattr(obj, "__name__") else type(obj)
    name = getattr(cls, "__qualname__", cls.__name__)
    return f"{cls.__module__}.{name}" if "." not in name else str(name)


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, str] | None = None,
    imp: Any = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **_: Any,
) -> Any:
    """Return what ``module.name`` or ``module:name`` means; anything but text as it is.

    Raises ImportError or AttributeError where there is nothing, unless ``default`` is given.
    """
    if not isinstance(name, str):
        return name
    path = (aliases or {}).get(name, name)
    module_name, _colon, attribute = path.rpartition(":" if ":" in path else sep)
    if not module_name:
        module_name, attribute = attribute, ""
    try:
        module = (imp or importlib.import_module)(module_name, package=package)
        return getattr(module, attribute) if attribute else module
    except (ImportError, AttributeError):
        if default is None:
            raise
        return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """Return an instance of the class of this name."""
    return symbol_by_name(name)(*args, **kwargs)


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """Have the current directory among the places where modules are looked for."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def import_from_cwd(module: str, imp: Any = None, package: str | None = None) -> ModuleType:
    """Import a module, the current directory being looked into as well."""
    with cwd_in_path():
        found: ModuleType = (imp or importlib.import_module)(module, package=package)
        return found


def reload_from_cwd(module: ModuleType, reloader: Any = None) -> ModuleType:
    """Load a module again, the current directory being looked into as well."""
    with cwd_in_path():
        found: ModuleType = (reloader or importlib.reload)(module)
        return found


def find_module(module: str, path: Any = None, imp: Any = None) -> Any:  # noqa: ARG001 - Celery's
    """Return the spec of a module, or None. Raises NotAPackage for a name below a plain module."""
    with cwd_in_path():
        parent = module.rpartition(".")[0]
        if parent and not hasattr(importlib.import_module(parent), "__path__"):
            raise NotAPackage(parent)
        return importlib.util.find_spec(module)


def module_file(module: ModuleType) -> str:
    """Return the file that a module was loaded from."""
    return str(module.__file__)


def gen_task_name(app: Any, name: str, module_name: str) -> str:
    """Return the automatic name of a task."""
    return name_in(app, name, module_name)


def load_extension_class_names(namespace: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the entry points of a group."""
    for each in entry_points(group=namespace):
        yield each.name, each.value


def load_extension_classes(namespace: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and objects of the entry points of a group."""
    for each in entry_points(group=namespace):
        yield each.name, each.load()


get_full_cls_name = qualname
get_cls_by_name = symbol_by_name

__all__ = [
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "load_extension_class_names",
    "load_extension_classes",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
]
