"""Pickle, with Celery's own classes read as ours.

A Celery client pickles signatures and errors as references to its own modules. Celery need not be
installed here, so those references are answered from a table: signatures become plain mappings,
errors the class of the same meaning in ``umbel.errors``. A reference into those packages that is
not in the table is refused rather than imported.

Everything else is imported as pickle always does. This makes Celery's pickles readable; it does not
make pickle safe. Only ``serializers`` calls this, behind the accept list.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from umbel.errors import DecodeError, EncodeError
from umbel.wire.foreign_names import FOREIGN_PACKAGES, error_class, foreign_name
from umbel.wire.portable_errors import from_portable

PROTOCOL = int(os.environ.get("PICKLE_PROTOCOL", "4"))
"""Celery's peers read protocol 4; the variable is the one they obey."""


def _signature(*values: Any, **more: Any) -> dict[str, Any]:
    """Stand in for Celery's signature factories: the mapping they are given comes first."""
    mapping = next((value for value in values if isinstance(value, dict)), {})
    return {**mapping, **more}


def _unpicklable(module: str, name: str, args: Sequence[Any], _text: str) -> BaseException:
    """Stand in for Celery's wrapper around an exception that cannot be pickled itself."""
    fields = {"exc_type": name, "exc_message": list(args), "exc_module": module}
    return from_portable(fields)


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("celery.canvas", "signature"): _signature,
    ("celery.canvas", "subtask"): _signature,
    ("celery.canvas", "Signature"): _signature,
    ("celery.utils.serialization", "UnpickleableExceptionWrapper"): _unpicklable,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if module.split(".", 1)[0] not in FOREIGN_PACKAGES:
            return super().find_class(module, name)
        found = error_class(module, name) or _FUNCTIONS.get((module, name))
        if found is None:
            raise DecodeError(
                f"the pickle refers to {module}.{name}, which has no counterpart here; only "
                f"signatures and errors of {module.split('.', 1)[0]} can be read"
            )
        return found


def dumps(value: Any) -> bytes:
    """Return the pickle of ``value``. Raises EncodeError."""
    try:
        return pickle.dumps(value, protocol=PROTOCOL)
    except Exception as error:  # a user's __reduce__ may raise anything
        raise EncodeError(f"the value cannot be pickled: {error}") from error


def _save_class(pickler: Any, kind: type) -> None:
    """Write a class; one of our errors as a reference to Celery's of the same meaning."""
    foreign = foreign_name(kind) if issubclass(kind, BaseException) else None
    if foreign is None:
        _PurePickler.dispatch[type](pickler, kind)
        return
    for text in foreign:
        pickler.save(text)
    pickler.write(pickle.STACK_GLOBAL)
    pickler.memoize(kind)


# The C pickler insists on importing what it refers to; this one lets us write the reference. It is
# some twelve times slower, which failures can bear.
_PurePickler: Any = vars(pickle)["_Pickler"]


def dumps_for_celery(value: Any) -> bytes:
    """Return a pickle in which Celery's clients find their own error classes. Raises EncodeError.

    Umbel reads it as well: ``loads`` takes the names back.
    """
    file = io.BytesIO()
    pickler = _PurePickler(file, max(PROTOCOL, 4))
    pickler.dispatch = {**_PurePickler.dispatch, type: _save_class}
    try:
        pickler.dump(value)
    except Exception as error:  # a user's __reduce__ may raise anything
        raise EncodeError(f"the value cannot be pickled: {error}") from error
    return file.getvalue()


def loads(data: bytes) -> Any:
    """Return the value in a pickle from a trusted sender. Raises DecodeError."""
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except DecodeError:
        raise
    except Exception as error:  # unpickling runs constructors, which may raise anything
        raise DecodeError(f"not a pickle that can be read here: {error!r}") from error
