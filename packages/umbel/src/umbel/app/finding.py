"""From what ``-A`` says to the app it means.

Called by the command line and by the process that imports the user's code. It imports modules of
the user, so it must never run in a supervisor. Nothing here configures or finalizes the app.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from umbel.app.app import App
from umbel.errors import ImproperlyConfigured, UmbelError

_OUR_FRAMES = (os.path.abspath(__file__), importlib.__file__, "<frozen importlib")
_HOUSE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class AppNotFound(ImproperlyConfigured):
    """``-A`` does not lead to an app; the message says how far it led."""

    exit_code = 2
    """How a command ends because of it: wrong usage."""


class ModuleMissing(AppNotFound):
    """A module, or a package on the way to it, does not exist. ``missing`` is its full name."""

    def __init__(self, message: str, missing: str) -> None:
        super().__init__(message)
        self.missing = missing


def find_app(spec: str) -> App:
    """Return the app that ``spec`` names.

    ``spec`` is ``module``, ``package``, ``module.attr``, ``module:attr``, or the path of a Python
    file. In a module the app is looked for as ``app``, as ``celery``, in a sub-module ``celery``,
    and at last as the only app there is. The current directory comes first on ``sys.path``
    afterwards. Raises AppNotFound; an error of the user's module is told in its message, with the
    traceback from the user's own code on.
    """
    put_first_on_path(os.getcwd())
    if looks_like_file(spec):
        return _app_in(import_file(spec), spec)
    module_name, colon, attribute = spec.partition(":")
    if colon:
        if not module_name or not attribute:
            raise AppNotFound(f"-A {spec}: write module:attribute, for instance proj.celery:app")
        return _app_from(_follow(import_named(module_name), attribute, spec), spec)
    module, rest = _longest_module(spec)
    return _app_from(_follow(module, rest, spec), spec)


def looks_like_file(spec: str) -> bool:
    """Tell whether ``spec`` is the path of a file rather than the name of a module."""
    return spec.endswith(".py") or os.sep in spec


def module_of_file(path: str) -> tuple[str, str]:
    """Return the name under which a file is imported, and the directory that must be on the path.

    A file in a package (a directory with ``__init__.py``) is a module of that package. Raises
    AppNotFound when there is no such file.
    """
    file = Path(path).resolve()
    if not file.is_file():
        near = _nearest(file.name, (entry.name for entry in _entries(file.parent)))
        raise AppNotFound(f"There is no file {path}.{_did_you_mean(near)}")
    names = [] if file.name == "__init__.py" else [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    return ".".join(names), str(root)


def import_file(path: str) -> ModuleType:
    """Import a file under the name other modules would import it by. Raises AppNotFound."""
    name, root = module_of_file(path)
    put_first_on_path(root)
    module = import_named(name)
    found = getattr(module, "__file__", None)
    if found is None or not os.path.samefile(found, path):
        raise AppNotFound(
            f"{path} cannot be imported: the name {name!r} already belongs to "
            f"{found or 'a built-in module'}. Give the file another name."
        )
    return module


def import_named(name: str) -> ModuleType:
    """Import a module of the user by its dotted name.

    Raises ModuleMissing where there is none, AppNotFound where it raises.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise ModuleMissing(_not_found(name, missing), missing) from None
        raise AppNotFound(_module_raised(name, error)) from error


def put_first_on_path(directory: str) -> None:
    """Make ``directory`` the first place where modules are looked for."""
    if not sys.path or sys.path[0] != directory:
        if directory in sys.path:
            sys.path.remove(directory)
        sys.path.insert(0, directory)


def user_traceback(error: BaseException) -> str:
    """Return the traceback of ``error`` without the import machinery.

    An error that Umbel raised on purpose explains itself: its frames inside Umbel go too.
    """
    ours = (*_OUR_FRAMES, _HOUSE) if isinstance(error, UmbelError) else _OUR_FRAMES
    told = traceback.TracebackException.from_exception(error)
    kept = [frame for frame in told.stack if not frame.filename.startswith(ours)]
    told.stack = traceback.StackSummary.from_list(kept)
    return "".join(told.format(chain=False)).rstrip()


# --- the steps ------------------------------------------------------------------------------------


def _longest_module(spec: str) -> tuple[ModuleType, str]:
    """Import as much of a dotted name as is a module; return it and the attributes that follow."""
    name, attributes = spec, ""
    while True:
        try:
            return import_named(name), attributes
        except ModuleMissing as error:
            parent, _, last = name.rpartition(".")
            if not parent or error.missing != name:
                raise
            name, attributes = parent, f"{last}.{attributes}" if attributes else last


def _follow(start: ModuleType, attributes: str, spec: str) -> Any:
    value: Any = start
    for attribute in filter(None, attributes.split(".")):
        try:
            value = getattr(value, attribute)
        except AttributeError:
            owner = value.__name__ if isinstance(value, ModuleType) else type(value).__name__
            hint = _did_you_mean(_nearest(attribute, _names_of_apps(value) or dir(value)))
            raise AppNotFound(
                f"-A {spec}: {owner!r} has neither a sub-module nor an attribute "
                f"{attribute!r}.{hint or _apps_sentence(value)}"
            ) from None
    return value


def _app_from(value: Any, spec: str) -> App:
    if isinstance(value, App):
        return value
    if isinstance(value, ModuleType):
        return _app_in(value, spec)
    raise AppNotFound(
        f"-A {spec} leads to a {type(value).__name__}, not to an app. "
        "An app is made by app = Umbel() or app = Celery(...)."
    )


def _app_in(module: ModuleType, spec: str) -> App:
    """Look for the app in a module: app, celery, sub-module celery, the only one there is."""
    for name in ("app", "celery"):
        if _is_app(getattr(module, name, None)):
            return _found(module, name)
    if hasattr(module, "__path__"):
        inner = f"{module.__name__}.celery"
        try:
            return _app_in(import_named(inner), spec)
        except ModuleMissing as error:
            if error.missing != inner:
                raise
    names = _names_of_apps(module)
    if len(names) == 1:
        return _found(module, names[0])
    if names:
        choices = ", ".join(f"{module.__name__}:{name}" for name in names)
        raise AppNotFound(
            f"-A {spec}: the module {module.__name__!r} has {len(names)} apps, and none is "
            f"called app or celery. Say which one is meant: {choices}."
        )
    raise AppNotFound(
        f"-A {spec}: the module {module.__name__!r} "
        f"({getattr(module, '__file__', None) or 'a package without __init__.py'}) has no app. "
        "Looked for app, celery, a sub-module celery, and any Umbel or Celery object. "
        "An app is made by app = Umbel()."
    )


def _is_app(value: object) -> bool:
    """Tell whether this is an app itself: ``current_app``, which only stands for one, is not."""
    return issubclass(type(value), App)


def _found(module: ModuleType, name: str) -> App:
    value: App = getattr(module, name)
    return value


def _names_of_apps(owner: Any) -> list[str]:
    """Return the names of the different apps in a module, one name each."""
    names: dict[int, str] = {}
    for name, value in vars(owner).items() if hasattr(owner, "__dict__") else ():
        if _is_app(value):
            names.setdefault(id(value), name)
    return list(names.values())


# --- what to say ----------------------------------------------------------------------------------


def _not_found(name: str, missing: str) -> str:
    """Say that a module does not exist, with the nearest names beside it."""
    parent, _, last = missing.rpartition(".")
    where = os.getcwd()
    if parent and (paths := getattr(sys.modules.get(parent), "__path__", None)):
        where = next(iter(paths), where)
    near = _nearest(last, _importable(Path(where)))
    prefix = f"{parent}." if parent else ""
    asked = f"-A {name}: there" if name == missing else f"-A {name}: on the way to it, there"
    return (
        f"{asked} is no module {missing!r} in {where} or elsewhere on the Python path."
        f"{_did_you_mean([prefix + one for one in near])}"
        + ("" if near else " Run the command where the module lies, or give --workdir.")
    )


def _module_raised(name: str, error: BaseException) -> str:
    return (
        f"The module {name!r} was found but cannot be imported: it raised "
        f"{type(error).__name__}.\n\n{user_traceback(error)}"
    )


def _apps_sentence(owner: Any) -> str:
    names = _names_of_apps(owner)
    return f" Its apps: {', '.join(names)}." if names else ""


def _nearest(name: str, choices: Iterator[str] | list[str]) -> list[str]:
    return difflib.get_close_matches(name, list(choices), n=3, cutoff=0.6)


def _did_you_mean(near: list[str]) -> str:
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _importable(directory: Path) -> Iterator[str]:
    for entry in _entries(directory):
        if entry.suffix == ".py" and entry.stem.isidentifier():
            yield entry.stem
        elif entry.is_dir() and entry.name.isidentifier():
            yield entry.name
