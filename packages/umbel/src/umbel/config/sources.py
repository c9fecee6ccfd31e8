"""Reading where settings come from: mappings, modules, objects, environment, command line.

``conf`` calls this; nothing is judged here (``checking`` does that). Modules are imported here, and
only when the settings are first needed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

from umbel.config.checking import Problem, setting_named, unknown_name
from umbel.config.settings import NAMES
from umbel.errors import ImproperlyConfigured

CELERY_VARIABLES: Mapping[str, str] = {
    "CELERY_BROKER_URL": "broker_url",
    "CELERY_BROKER_READ_URL": "broker_read_url",
    "CELERY_BROKER_WRITE_URL": "broker_write_url",
    "CELERY_RESULT_BACKEND": "result_backend",
}
"""Environment variables that Celery's library reads, and the settings they set."""

SOURCE_VARIABLES = ("UMBEL_CONFIG_MODULE", "CELERY_CONFIG_MODULE")
"""Environment variables that name the module of an app without a source."""

_OWN_PREFIX = "UMBEL_"
_KNOWN = frozenset(NAMES)
_NO_COMMANDS = ("task_", "broker_", "redis_", "database_", "event_", "security_")
"""Groups of settings that are not also the name of a command, whose options are variables too."""
_CAST = re.compile(r"\((\w+)\)(.*)", re.DOTALL)


class Reading(msgspec.Struct, frozen=True):
    """One source, opened: its keys, a way to read each, and what to call it in messages."""

    origin: str
    keys: tuple[str, ...]
    read: Callable[[str], Any]
    is_code: bool = False
    """A module, class or object: it also holds names that were never meant as settings."""

    def items(self) -> Iterable[tuple[str, Callable[[], Any]]]:
        """Return each key with a function that reads its value."""
        for key in self.keys:
            yield key, lambda key=key: self.read(key)  # type: ignore[misc] # mypy: key is bound

    def get(self, key: str) -> Any:
        """Return the value of a key, or None where there is none."""
        try:
            return self.read(key)
        except (KeyError, AttributeError):
            return None


# --- what config_from_object takes ----------------------------------------------------------------


def open_source(source: Any, *, silent: bool = False) -> Reading | None:
    """Open a mapping, object, class, module, or the dotted name of one of these.

    Returns None for None, and for a name that cannot be imported when ``silent``. Raises
    ImproperlyConfigured when there is no such module or attribute; what the module itself raises
    while it is imported passes through.
    """
    if source is None:
        return None
    if not isinstance(source, str):
        return _reading_of(source, f"{_kind_of(source)} given to config_from_object")
    try:
        return _reading_of(_find(source), f"{source!r}")
    except ImproperlyConfigured:
        if silent:
            return None
        raise


def open_defaults(added: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> Reading:
    """Open what ``add_defaults`` was given, calling it where it is to be called."""
    mapping = added() if callable(added) else added
    return Reading("add_defaults", tuple(mapping), mapping.__getitem__)


def source_in_variable(variable: str, *, silent: bool = False) -> str | None:
    """Return the module that an environment variable names.

    Raises ImproperlyConfigured when the variable is unset or empty, unless ``silent``.
    """
    source = os.environ.get(variable)
    if source or silent:
        return source or None
    raise ImproperlyConfigured(
        f"The environment variable {variable} should name the module with the settings, but it is "
        f"not set. Set it, for example {variable}=proj.celeryconfig."
    )


def source_in_environment() -> str | None:
    """Return the module that the environment names for apps that have no source of their own."""
    return next((os.environ[name] for name in SOURCE_VARIABLES if os.environ.get(name)), None)


def _kind_of(source: Any) -> str:
    if isinstance(source, Mapping):
        return "the mapping"
    name = getattr(source, "__name__", None) or type(source).__name__
    return f"{name!r}"


def _reading_of(found: Any, origin: str) -> Reading:
    if isinstance(found, Mapping):
        mapping = found
        return Reading(origin, tuple(key for key in mapping if isinstance(key, str)), mapping.get)
    keys = tuple(key for key in dir(found) if not key.startswith("_"))
    return Reading(origin, keys, lambda key: getattr(found, key), is_code=True)


def _find(name: str) -> Any:
    module_name, colon, attribute = name.partition(":")
    if colon:
        return _attribute(_import(module_name, name), attribute, name)
    try:
        return _import(name, name)
    except ImproperlyConfigured as error:
        # pkg.mod.attr is accepted where pkg.mod is a module.
        module_name, dot, attribute = name.rpartition(".")
        missing = getattr(error.__cause__, "name", None)
        if not dot or missing != name:
            raise
        return _attribute(_import(module_name, name), attribute, name)


def _attribute(module: Any, path: str, name: str) -> Any:
    found = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ImproperlyConfigured(
                f"The settings should come from {name!r}, but {module.__name__} has no {path!r}."
            ) from None
    return found


def _import(module_name: str, name: str) -> Any:
    # The working directory counts, as it does for ``python -m``: command line programs are
    # installed elsewhere, and the settings usually lie where they are started.
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there; something that it imports is not
        raise ImproperlyConfigured(
            f"The settings should come from {name!r}, but there is no module {error.name!r}. "
            f"Looked in the working directory {here} and on the Python path."
        ) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


# --- environment ----------------------------------------------------------------------------------


def read_environment(environ: Mapping[str, str]) -> list[Reading]:
    """Return what the environment says, the stronger first: ``UMBEL_*``, then Celery's four.

    Empty variables count as unset.
    """
    readings = []
    for variable in environ:
        if not variable.startswith(_OWN_PREFIX) or not environ[variable]:
            continue
        name = variable[len(_OWN_PREFIX) :].lower()
        if name in _KNOWN:
            readings.append(_variable(variable, name, environ))
    for variable, name in CELERY_VARIABLES.items():
        if environ.get(variable):
            readings.append(_variable(variable, name, environ))
    return readings


def misspelled_variables(environ: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each ``UMBEL_*`` variable that begins as a setting does and is none.

    What begins as a command does is left alone: ``UMBEL_WORKER_LOGLEVEL`` is one of its options.
    """
    problems = []
    for variable in environ:
        name = variable.removeprefix(_OWN_PREFIX).lower()
        known = name in _KNOWN or not name.startswith(_NO_COMMANDS)
        if variable.startswith(_OWN_PREFIX) and not known:
            problems.append(unknown_name(name, f"environment variable {variable}"))
    return problems


def _variable(variable: str, name: str, environ: Mapping[str, str]) -> Reading:
    return Reading(f"environment variable {variable}", (name,), lambda _: environ[variable])


# --- command line ---------------------------------------------------------------------------------


def read_command_line(words: Sequence[str] | Mapping[str, Any], namespace: str) -> Reading:
    """Read ``group.name=value`` words; a word without a group is of the group ``namespace``.

    A value may say how it is to be read: ``(json)[1, 2]``, ``(string)5``. Raises
    ImproperlyConfigured for a word that has no ``=``.
    """
    if not isinstance(words, Mapping):
        words = dict(_split_word(word) for word in words)
    values = {_full_name(key, namespace): _cast(text, key) for key, text in words.items()}
    return Reading("command line", tuple(values), values.__getitem__)


def _split_word(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise ImproperlyConfigured(
            f"{word!r} (command line) is neither an option nor a setting: "
            "settings are written group.name=value, for example worker.prefetch_multiplier=1."
        )
    return key, value


def _full_name(key: str, namespace: str) -> str:
    name = key.strip().replace(".", "_")
    for full in (name, name.lower(), name.lower().removeprefix("celery_")):
        setting = setting_named(full)
        if setting is not None:
            return setting
    grouped = f"{namespace}_{name}".lower()
    return grouped if setting_named(grouped) else name


def _cast(text: Any, key: str) -> Any:
    match = _CAST.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return text
    kind, rest = match.groups()
    if kind in {"json", "list", "dict", "tuple"}:
        try:
            return msgspec.json.decode(rest)
        except msgspec.DecodeError as error:
            raise ImproperlyConfigured(
                f"{key} (command line) is not valid JSON ({error}): {rest[:60]!r}."
            ) from None
    if kind in {"string", "str", "int", "float", "bool", "any"}:
        return rest
    return text
