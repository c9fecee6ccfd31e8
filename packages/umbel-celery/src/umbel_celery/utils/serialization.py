"""``celery.utils.serialization``: base64, JSON-able values, exceptions that can be pickled."""

from __future__ import annotations

import pickle
import sys
from base64 import b64decode as _decode
from base64 import b64encode as _encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from inspect import getmro
from typing import Any, NoReturn
from uuid import UUID

_TRUTH = {
    **dict.fromkeys(("yes", "true", "on", "1", "y", "t"), True),
    **dict.fromkeys(("no", "false", "off", "0", "n", "f"), False),
}


def b64encode(s: bytes | str) -> str:
    """Return bytes, or text as UTF-8, in base64."""
    return _encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: bytes | str) -> bytes:
    """Return the bytes that base64 text stands for."""
    return _decode(s.encode() if isinstance(s, str) else s)


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> Any:
    """Return ``"yes"``, ``"off"`` and their like as a truth value; what is no text as it is.

    Raises TypeError for other text.
    """
    if not isinstance(term, str):
        return term
    known = table or _TRUTH
    try:
        return known[term.lower()]
    except KeyError:
        raise TypeError(
            f"{term!r} is no truth value: write one of {', '.join(sorted(known))}."
        ) from None


def jsonify(
    obj: Any,
    builtin_types: tuple[type, ...] = (int, float, str),
    key: Any = None,
    keyfilter: Callable[[Any], bool] | None = None,
    unknown_type_filter: Callable[[Any], Any] | None = None,
) -> Any:
    """Return a value made of what JSON has: moments, durations and ids become text or seconds.

    Raises ValueError for other classes, unless ``unknown_type_filter`` makes something of them.
    """
    more = (builtin_types, key, keyfilter, unknown_type_filter)
    if obj is None or isinstance(obj, builtin_types):
        return obj
    if isinstance(obj, datetime | date | time):
        text = obj.isoformat()
        return text.replace("+00:00", "Z") if isinstance(obj, datetime) else text
    if isinstance(obj, timedelta | Decimal | UUID):
        return str(obj)
    if isinstance(obj, list | tuple):
        return [jsonify(each, *more) for each in obj]
    if isinstance(obj, Mapping):
        return {
            name: jsonify(value, *more)
            for name, value in obj.items()
            if keyfilter is None or keyfilter(name)
        }
    if unknown_type_filter is not None:
        return unknown_type_filter(obj)
    raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r}" + (f" (key: {key})" if key else ""))


class UnpickleableExceptionWrapper(Exception):
    """Stands for an exception that cannot be pickled: the names of its class, and its arguments."""

    def __init__(
        self, exc_module: str, exc_cls_name: str, exc_args: Any, text: str | None = None
    ) -> None:
        self.exc_module, self.exc_cls_name = exc_module, exc_cls_name
        self.exc_args = [each if _can_be_pickled(each) else repr(each) for each in exc_args]
        self.text = text
        super().__init__(exc_module, exc_cls_name, self.exc_args, text)

    def restore(self) -> BaseException:
        """Return an exception of a class of that name."""
        return create_exception_cls(self.exc_cls_name, self.exc_module)(*self.exc_args)

    @classmethod
    def from_exception(cls, exc: BaseException) -> UnpickleableExceptionWrapper:
        """Return the wrapper of an exception."""
        return cls(type(exc).__module__, type(exc).__name__, exc.args, str(exc))

    def __str__(self) -> str:
        return self.text or ""


def subclass_exception(name: str, parent: type[BaseException], module: str) -> Any:
    """Return a new class of exceptions."""
    return type(name, (parent,), {"__module__": module})


def create_exception_cls(
    name: str, module: str, parent: type[BaseException] | None = None
) -> type[BaseException]:
    """Return a class of exceptions of this name, made for the occasion."""
    made: type[BaseException] = subclass_exception(name, parent or Exception, module)
    return made


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever a class of the user's raises
        return False
    return True


def find_pickleable_exception(exc: BaseException) -> BaseException | None:
    """Return the exception as one of its nearest base classes that can be pickled, or None."""
    for cls in getmro(type(exc)):
        if cls in (Exception, BaseException, object):
            return None
        try:
            made: BaseException = cls(*exc.args)
        except Exception:  # noqa: BLE001, S112 - a class may want other arguments
            continue
        if _can_be_pickled(made):
            return made
    return None


def get_pickleable_exception(exc: BaseException) -> BaseException:
    """Return the exception, or the nearest thing to it that can be pickled."""
    if _can_be_pickled(exc):
        return exc
    return find_pickleable_exception(exc) or UnpickleableExceptionWrapper.from_exception(exc)


def get_pickled_exception(exc: BaseException) -> BaseException:
    """Return what a wrapper stands for; any other exception as it is."""
    return exc.restore() if isinstance(exc, UnpickleableExceptionWrapper) else exc


def raise_with_context(exc: BaseException) -> NoReturn:
    """Raise an exception from the one that is being handled."""
    now = sys.exc_info()[1]
    if now is None or now is exc:
        raise exc
    raise exc from now


__all__ = [
    "UnpickleableExceptionWrapper",
    "b64decode",
    "b64encode",
    "create_exception_cls",
    "find_pickleable_exception",
    "get_pickleable_exception",
    "get_pickled_exception",
    "jsonify",
    "raise_with_context",
    "strtobool",
    "subclass_exception",
]
