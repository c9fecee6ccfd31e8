"""The doctor's look at the user's program: does it import, are its settings and tasks sound?

Each check takes what it looks at and returns findings. They import the user's modules, but send
nothing and connect to nothing.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from umbel.app.app import App
from umbel.app.finding import AppNotFound, find_app, user_traceback
from umbel.cli.findings import Finding, fail, ok, warn
from umbel.config.without_effect import set_without_effect
from umbel.errors import AlreadyRegistered, DuplicateTaskNameWarning, UmbelError

_MODULES_OF_SERIALIZERS = {"yaml": "yaml", "msgpack": "msgpack"}
_MODULES_OF_POOLS = {"gevent": "gevent", "eventlet": "eventlet"}
_MODULES_OF_COMPRESSIONS = {"brotli": "brotli", "zstd": "backports.zstd"}
_EXTRAS = {"backports.zstd": "zstd"}
"""Extras of the distribution that are not named as the module they bring."""


def check_app(spec: str) -> tuple[App | None, list[Finding]]:
    """Find the app that ``-A`` names."""
    try:
        app = find_app(spec)
    except AppNotFound as error:
        advice = "Correct -A, or the error that the module raises."
        return None, [fail("app", str(error), advice)]
    return app, [ok("app", f"{spec} is {app.main or 'an app without a name'}")]


def check_settings(app: App) -> list[Finding]:
    """Read all settings: a wrong name or value anywhere is told with where it came from."""
    try:
        settings = app.settings
    except UmbelError as error:
        return [fail("settings", str(error), "Correct these settings: no worker starts with them.")]
    changed = len(app.conf.changes)
    found = [ok("settings", f"profile {settings.profile}, {changed} set by the program")]
    if settings.result_backend is None:
        found.append(
            warn(
                "results",
                "no result backend is set: get() and state cannot work",
                "Set result_backend if somebody asks for results.",
            )
        )
    if vain := set_without_effect(app.conf):
        found.append(
            warn(
                "settings",
                f"set, and without effect in this version of Umbel: {', '.join(vain)}",
                "docs/status.md says what to do instead.",
            )
        )
    if settings.task_always_eager:
        found.append(
            warn(
                "settings",
                "task_always_eager is on: every call runs at once, in the caller",
                "That is for tests; switch it off to have workers run tasks.",
            )
        )
    return found


def check_extras(app: App) -> list[Finding]:
    """Look for packages that the settings need and that are not installed."""
    settings = app.settings
    needed: dict[str, str] = {}
    for name in (settings.task_serializer, settings.result_serializer, *settings.accept_content):
        if name in _MODULES_OF_SERIALIZERS:
            needed[_MODULES_OF_SERIALIZERS[name]] = f"the serializer {name}"
    if settings.worker_pool in _MODULES_OF_POOLS:
        needed[_MODULES_OF_POOLS[settings.worker_pool]] = f"the pool {settings.worker_pool}"
    for compression in (settings.task_compression, settings.result_compression):
        if compression in _MODULES_OF_COMPRESSIONS:
            needed[_MODULES_OF_COMPRESSIONS[compression]] = f"the compression {compression}"
    missing = [(module, use) for module, use in needed.items() if not _is_there(module)]
    return [
        fail("packages", f"{use} needs the module {module}", f"pip install '{_package(module)}'")
        for module, use in missing
    ] or [ok("packages", "all that the settings need are installed")]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _package(module: str) -> str:
    return f"umbel[{_EXTRAS.get(module, module)}]"


def check_tasks(app: App) -> list[Finding]:
    """Import the modules of the tasks, as a worker does, and look at what they register."""
    try:
        app.import_modules()
        app.finalize()
    except AlreadyRegistered as error:
        return [fail("task names", str(error), "Give one of the two another name.")]
    except Exception as error:  # noqa: BLE001 - whatever the user's modules raise is told
        told = f"{type(error).__name__}: {error}\n{user_traceback(error.__cause__ or error)}"
        return [fail("task modules", told, "A worker would stop here. Correct the module.")]
    names = [name for name in app.tasks if not name.startswith("celery.")]
    if not names:
        advice = "Import the tasks in the app's module, or name their modules in `include`."
        return [warn("tasks", "the app has none", advice)]
    return [ok("tasks", f"{len(names)}: {', '.join(sorted(names)[:8])}{_more(names)}")]


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 8} more" if len(names) > 8 else ""


def told_by_warnings(caught: Sequence[warnings.WarningMessage]) -> list[Finding]:
    """Make findings of what the program's modules warned of while they were imported."""
    found = []
    for one in caught:
        duplicate = issubclass(one.category, DuplicateTaskNameWarning)
        where = f"{one.message} ({one.filename}, line {one.lineno})"
        found.append(warn("task names" if duplicate else one.category.__name__, where))
    return found


def check_main_trap(app: App) -> list[Finding]:
    """Look for files that define tasks and are also run, where that gives the tasks other names.

    Run as a program a file sends its tasks under the app's name, or else under the file's own.
    """
    found = []
    for module in sorted({task.__module__ for task in _own_tasks(app)}):
        place = getattr(sys.modules.get(module), "__file__", None)
        path = Path(place) if place is not None else None
        sent = app.main or (path.stem if path is not None else module)
        if path is None or sent == module or not _has_main_block(path):
            continue
        found.append(
            warn(
                "__main__",
                f"{module} defines tasks and has an `if __name__ == '__main__'` block. Run as a "
                f"program (python {_as_run(module, path)}) it sends {sent}.…, while workers "
                f"import it and know {module}.…: such tasks are never found.",
                f"Put what is run into a file of its own that imports {module}, "
                + _other_way(app, module),
            )
        )
    return found or [ok("__main__", "no file that is run gives its tasks other names")]


def _as_run(module: str, path: Path) -> str:
    """Return the file as one would name it from where the module is imported."""
    folders = module.count(".") + (path.stem == "__init__")
    return "/".join(path.parts[-folders - 1 :])


def _other_way(app: App, module: str) -> str:
    if app.main is None:
        return f"or run it by its name: python -m {module}."
    return f"or name the app after the module: Umbel({module!r})."


def _own_tasks(app: App) -> Iterable[object]:
    return [task for name, task in app.tasks.items() if not name.startswith("celery.")]


def _has_main_block(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and "__main__" in ast.unparse(node.test)
        for node in tree.body
    )
