"""Task protocol 1 and the hybrid form, reading only.

Protocol 1 has no headers: everything is in the body, a mapping. The hybrid has protocol 2's headers
and protocol 1's body; its headers win. Called by ``task_message`` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from umbel.errors import DecodeError, UnsupportedProtocol
from umbel.model.message import TaskMessage
from umbel.wire.fields import message_from

_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
_ARGUMENTS = frozenset({"args", "kwargs", "utc", "taskset", *_EMBEDDED})


def read(content: Any, properties: Mapping[str, Any], *, timezone: tzinfo) -> TaskMessage:
    """Return the task in a protocol 1 body.

    Raises UnsupportedProtocol when the content is not one at all, DecodeError when a field is
    wrong.
    """
    if not isinstance(content, Mapping):
        raise UnsupportedProtocol(
            f"the message has no header 'task', as protocol 2 has, and its body is a "
            f"{type(content).__name__}, not the mapping of protocol 1: it is not a task message"
        )
    if not content.get("task"):
        raise UnsupportedProtocol(
            "neither the headers nor the body name a task (key 'task'): it is not a task message"
        )
    if not content.get("id"):
        raise DecodeError(f"the protocol 1 message for task {content['task']!r} has no id")
    return _read(content, {}, properties, timezone)


def read_hybrid(
    content: Mapping[str, Any],
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    *,
    timezone: tzinfo,
) -> TaskMessage:
    """Return the task whose headers are protocol 2's and whose body is a mapping."""
    if "args" not in content:
        raise UnsupportedProtocol(
            f"the body of task {headers.get('task')!r} is a mapping without 'args'; protocol 2 "
            f"has a list of args, kwargs and embed there"
        )
    return _read(content, headers, properties, timezone)


def _read(
    content: Mapping[str, Any],
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    timezone: tzinfo,
) -> TaskMessage:
    fields = {name: value for name, value in content.items() if name not in _ARGUMENTS}
    if content.get("taskset"):
        fields["group"] = content["taskset"]
    fields.update(headers)
    args = content.get("args")
    kwargs = content.get("kwargs")
    return message_from(
        fields,
        properties,
        [] if args is None else args,
        {} if kwargs is None else kwargs,
        {name: content.get(name) for name in _EMBEDDED},
        naive=UTC if content.get("utc", True) else timezone,
    )
