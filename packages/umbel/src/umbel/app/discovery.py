"""Finding the modules that define an app's tasks.

A worker, and whoever else needs all tasks at hand, calls ``App.import_modules``; a program that
only sends does not, and never imports them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from umbel.app import signals
from umbel.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from umbel.app.app import App

Packages: TypeAlias = Iterable[str] | Callable[[], Iterable[str]] | None


class TaskModuleFailed(ImproperlyConfigured, ImportError):
    """A module that was to define tasks could not be imported; ``name`` says which."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Discovery:
    """One call of ``autodiscover_tasks``, to be performed when task modules are imported."""

    def __init__(self, packages: Packages, related_name: str | None) -> None:
        self._packages = packages
        self._related_name = related_name

    def perform(self) -> None:
        """Import the related module of every package that has one."""
        for package in self._named():
            import_related(package, self._related_name)

    def _named(self) -> Sequence[str]:
        packages = self._packages
        if packages is None:
            return _django_apps()
        return list(packages() if callable(packages) else packages)


def import_task_modules(app: App, discoveries: Sequence[Discovery]) -> None:
    """Import everything that may define tasks of this app.

    In order: receivers of ``import_modules``, the settings ``imports`` and ``include``,
    autodiscovery. Raises TaskModuleFailed, naming the module and who asked for it.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        # As Celery does: projects are run from their own folder.
        sys.path.insert(0, os.getcwd())
    signals.reraise(signals.import_modules.send(sender=app))
    for setting in ("imports", "include"):
        for module in _listed(getattr(app.settings, setting)):
            _import(module, f"listed in {setting!r}")
    for discovery in discoveries:
        discovery.perform()


def import_related(package: str, related_name: str | None) -> None:
    """Import ``package.related_name`` where it exists; the package itself when no name is given.

    A module that does not exist is no error; one that fails to import is.
    """
    if not related_name:
        _import(package, "given to autodiscover_tasks")
        return
    _import(package, "given to autodiscover_tasks")
    module = f"{package}.{related_name}"
    if not hasattr(sys.modules[package], "__path__"):
        return  # a plain module has no sub-modules
    if importlib.util.find_spec(module) is not None:
        _import(module, "found by autodiscover_tasks")


def _import(module: str, why: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        raise TaskModuleFailed(
            f"The task module {module!r} ({why}) cannot be imported: "
            f"{type(error).__name__}: {error}",
            module,
        ) from error


def _listed(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Iterable) else []


def _django_apps() -> Sequence[str]:
    """Return the installed apps where this is a Django project, else nothing."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return []
    try:
        registry = importlib.import_module("django.apps").apps
    except ImportError:
        return []
    if not registry.ready:
        importlib.import_module("django").setup()
    return [config.name for config in registry.get_app_configs()]
