"""Exceptions as three plain fields, so that any process can tell how a task failed.

``exc_type`` (qualified class name), ``exc_message`` (its arguments) and ``exc_module``: Celery's
form. Our own errors travel under the names Celery's clients know, and come back as ours.

Called by ``result_meta`` for writing and by result handles for reading. A class is only ever looked
up in modules already imported here, never imported because a stored document says so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from umbel.errors import DecodeError, EncodeError, TaskError, WireError
from umbel.ports import Serializer
from umbel.wire import tagged_json
from umbel.wire.foreign_names import error_class, foreign_name

# What a Celery worker puts around an exception that would not survive pickling between its
# processes; its arguments are module, class, arguments and text of the real one.
_WRAPPER = ("celery.utils.serialization", "UnpickleableExceptionWrapper")

_PLAIN: frozenset[type] = frozenset({str, int, float, bool, type(None)})


def to_portable(exc: BaseException, serializer: Serializer | None = None) -> dict[str, Any]:
    """Return the three fields for an exception.

    An argument that the serializer (JSON unless given) cannot write is replaced by its repr.
    Never raises.
    """
    kind = type(exc)
    if isinstance(exc, UnknownTaskError):
        return dict(exc.portable)
    known = foreign_name(kind)
    module, name = known if known is not None else (kind.__module__, kind.__qualname__)
    return {
        "exc_type": name,
        "exc_message": [_portable_argument(value, serializer) for value in exc.args],
        "exc_module": module,
    }


def _portable_argument(value: Any, serializer: Serializer | None) -> Any:
    if type(value) in _PLAIN:
        return value
    try:
        if serializer is None:
            tagged_json.dumps(value)
        else:
            serializer.dumps(value)
    except EncodeError:
        return _repr(value)
    return value


def from_portable(mapping: Mapping[str, Any]) -> BaseException:
    """Return the exception that these fields describe.

    The class is looked up in modules already imported; one that is not there is stood in for by a
    class of that name derived from TaskError. A class whose constructor refuses the arguments is
    made without calling it. Raises DecodeError when the fields are malformed, WireError when they
    name something that is not an exception.
    """
    if not isinstance(mapping, Mapping):
        raise DecodeError(
            f"a stored failure is a {type(mapping).__name__}, not a mapping of exc_type, "
            f"exc_message and exc_module"
        )
    name = mapping.get("exc_type")
    if not isinstance(name, str) or not name:
        raise DecodeError(f"a stored failure names no class: its exc_type is {name!r}")
    module = mapping.get("exc_module") or "builtins"
    if not isinstance(module, str):
        raise DecodeError(f"the exc_module of a stored failure is {module!r}, not a text")
    message = mapping.get("exc_message", ())
    args = tuple(message) if isinstance(message, list | tuple) else (message,)
    if (module, name) == _WRAPPER and len(args) == 4 and isinstance(args[2], list | tuple):
        fields = {"exc_module": args[0], "exc_type": args[1], "exc_message": args[2]}
        return from_portable(fields)
    kind = error_class(module, name) or _imported(module, name)
    if kind is None:
        return UnknownTaskError.stand_in(module, name, args)
    return _make(kind, module, name, args)


def _imported(module: str, name: str) -> type[BaseException] | None:
    found: Any = sys.modules.get(module)
    if found is None:
        return None
    for part in name.split("."):
        if part == "<locals>":
            return None
        # A module's __getattr__ may import; the dictionary does not.
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
        if found is None:
            return None
    if not isinstance(found, type) or not issubclass(found, BaseException):
        raise WireError(
            f"a stored failure claims to be {module}.{name}, which is not an exception class; it "
            f"is not made, because whoever wrote it may mean harm"
        )
    return found


def _make(
    kind: type[BaseException], module: str, name: str, args: tuple[Any, ...]
) -> BaseException:
    try:
        return kind(*args)
    except Exception:  # noqa: BLE001 - a user's constructor may raise anything
        pass
    try:
        # Constructors often take other arguments than they pass on. The class still matters, to
        # those who catch it; it must be possible to print it.
        made = kind.__new__(kind, *args)
        made.args = args
        str(made)
        repr(made)
    except Exception:  # noqa: BLE001 - as above
        return UnknownTaskError.stand_in(module, name, args)
    return made


class UnknownTaskError(TaskError):
    """A stored failure whose class is not imported here; subclassed once for each such class."""

    portable: Mapping[str, Any]
    _stand_ins: dict[tuple[str, str], type[UnknownTaskError]] = {}  # noqa: RUF012 - one per process

    @classmethod
    def stand_in(cls, module: str, name: str, args: tuple[Any, ...]) -> UnknownTaskError:
        """Return an exception that carries the name and arguments of a class unknown here."""
        kind = cls._stand_ins.get((module, name))
        if kind is None:
            short = name.rsplit(".", 1)[-1]
            kind = type(short, (UnknownTaskError,), {"__module__": module, "__qualname__": name})
            if len(cls._stand_ins) < 1000:  # names come from outside
                cls._stand_ins[(module, name)] = kind
        made = kind(*args)
        made.portable = {"exc_type": name, "exc_message": list(args), "exc_module": module}
        return made

    def __reduce__(self) -> Any:
        return from_portable, (self.portable,)


def describe(exc: BaseException) -> str:
    """Return the exception as one short line, such as ``ValueError('no')``. Never raises."""
    return _repr(exc)


def _repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a description must not fail what it describes
        text = f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    return text if len(text) <= 1024 else text[:1021] + "..."
