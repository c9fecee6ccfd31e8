"""How one member of a chord's header ended, as the store that counts keeps it.

The list ``[1, task id, state, result]``, as Celery writes it: with the result serializer, and
compressed where results are. Called by workers (writing) and by what gathers a header (reading).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.errors import DecodeError, TaskError
from umbel.model.outcome import EXCEPTION_STATES
from umbel.ports import Serializer
from umbel.wire.portable_errors import from_portable
from umbel.wire.result_meta import compressed, decompressed, stored_exception


def encode_part(
    task_id: str,
    state: str,
    value: Any,
    *,
    serializer: Serializer,
    compression: str | None = None,
) -> bytes:
    """Return the part. ``value`` is the exception of a failed member.

    Raises EncodeError when the serializer cannot write it.
    """
    if isinstance(value, BaseException) and state in EXCEPTION_STATES:
        value = stored_exception(value, serializer)
    return compressed(serializer.dumps([1, task_id, state, value]), compression)


def decode_part(part: bytes, *, serializer: Serializer) -> tuple[str, str, Any]:
    """Return task id, state, and the value or exception. Raises DecodeError."""
    found = serializer.loads(decompressed(part))
    if not isinstance(found, list | tuple) or len(found) != 4:
        raise DecodeError(f"a part of a chord's header is {found!r}, not [1, id, state, result]")
    _, task_id, state, value = found
    if state in EXCEPTION_STATES and not isinstance(value, BaseException):
        value = from_portable(value) if isinstance(value, Mapping) else TaskError(value)
    return str(task_id), str(state), value
