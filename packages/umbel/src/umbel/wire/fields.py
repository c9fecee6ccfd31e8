"""From header fields, already out of their bytes, to a checked TaskMessage.

Shared by the readers of all protocols: protocol 1 is put into protocol 2's field names first.
Missing and null fields take their defaults; a field of the wrong type is a DecodeError that names
task, field and value.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from umbel.errors import DecodeError
from umbel.model.message import TaskMessage
from umbel.wire.moments import read_moment
from umbel.wire.signature_dict import read_signature, read_signatures

TRANSPORT_HEADERS = frozenset({"compression", "redelivered"})
"""Headers about one journey of the bytes rather than about the task: never sent on."""

BUILT_IN_HEADERS = frozenset(
    {
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
    }
)
_NOT_CUSTOM = BUILT_IN_HEADERS | TRANSPORT_HEADERS

# Properties that have a field of their own in TaskMessage, or belong to one journey only.
_NOT_CUSTOM_PROPERTIES = frozenset(
    {
        "correlation_id",
        "reply_to",
        "priority",
        "body_encoding",
        "delivery_tag",
        "delivery_info",
        "expiration",
    }
)


def message_from(
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    args: Any,
    kwargs: Any,
    embed: Any,
    *,
    naive: tzinfo = UTC,
) -> TaskMessage:
    """Return the TaskMessage in these parts. ``naive``: the zone of times without offset."""
    get = headers.get
    task = get("task")
    if not isinstance(task, str) or not task:
        raise DecodeError(f"the message names no task: its header 'task' is {task!r}")
    _check_arguments(task, args, kwargs)
    hard, soft = read_limits(get("timelimit"), task)
    callbacks = errbacks = chain = chord = None
    if embed:
        callbacks, errbacks, chain, chord = _read_embed(embed, task)
    eta, expires = get("eta"), get("expires")
    return TaskMessage(
        id=_text(get("id"), "id", task),
        task=task,
        args=args,
        kwargs=kwargs,
        eta=eta and read_moment(eta, f"the eta of task {task!r}", naive),
        expires=expires and read_moment(expires, f"the expiry of task {task!r}", naive),
        retries=_int(get("retries") or 0, "retries", task),
        priority=read_priority(properties.get("priority")),
        time_limit=hard,
        soft_time_limit=soft,
        root_id=get("root_id"),
        parent_id=get("parent_id"),
        group_id=get("group"),
        group_index=get("group_index"),
        callbacks=callbacks,
        errbacks=errbacks,
        chain=chain,
        chord=chord,
        ignore_result=get("ignore_result"),
        shadow=get("shadow"),
        argsrepr=get("argsrepr"),
        kwargsrepr=get("kwargsrepr"),
        origin=get("origin"),
        correlation_id=properties.get("correlation_id"),
        reply_to=properties.get("reply_to"),
        replaced_task_nesting=_int(
            get("replaced_task_nesting") or 0, "replaced_task_nesting", task
        ),
        stamped_headers=get("stamped_headers"),
        stamps=get("stamps") or {},
        headers=_custom(headers, _NOT_CUSTOM),
        properties=_custom(properties, _NOT_CUSTOM_PROPERTIES),
    )


def _custom(mapping: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    if known.issuperset(mapping):  # nearly always: 0.3 µs instead of 1.0
        return {}
    return {name: value for name, value in mapping.items() if name not in known}


def _check_arguments(task: str, args: Any, kwargs: Any) -> None:
    if not isinstance(args, list | tuple):
        raise DecodeError(f"the args of task {task!r} are a {type(args).__name__}, not a list")
    if not isinstance(kwargs, dict):
        raise DecodeError(
            f"the kwargs of task {task!r} are a {type(kwargs).__name__}, not a mapping"
        )
    for name in kwargs:
        if not isinstance(name, str):
            raise DecodeError(f"the kwargs of task {task!r} have the key {name!r}, not a text")


def _read_embed(embed: Any, task: str) -> tuple[Any, Any, Any, Any]:
    if not isinstance(embed, Mapping):
        raise DecodeError(
            f"the third part of the body of task {task!r} is a {type(embed).__name__}, not a "
            f"mapping of callbacks, errbacks, chain and chord"
        )
    chord = embed.get("chord")
    return (
        read_signatures(embed.get("callbacks"), f"a callback of task {task!r}"),
        read_signatures(embed.get("errbacks"), f"an errback of task {task!r}"),
        read_signatures(embed.get("chain"), f"a chain step of task {task!r}"),
        read_signature(chord, f"the chord body of task {task!r}") if chord else None,
    )


def read_limits(value: Any, task: str) -> tuple[float | None, float | None]:
    """Return the (hard, soft) limits in seconds; the header has them in this order."""
    if value is None:
        return None, None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise DecodeError(
            f"the time limits of task {task!r} are {value!r}, not a pair of hard and soft seconds"
        )
    hard, soft = value
    for limit in value:
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
            raise DecodeError(f"a time limit of task {task!r} is {limit!r}, not seconds")
    return hard, soft


def read_priority(value: Any) -> int | None:
    """Return the priority property as an int. Raises DecodeError."""
    if value is None or type(value) is int:
        return value
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise DecodeError(f"the priority is {value!r}, not a number") from error


def _text(value: Any, field: str, task: str) -> str:
    if not isinstance(value, str) or not value:
        raise DecodeError(f"the {field} of task {task!r} is {value!r}, not a text")
    return value


def _int(value: Any, field: str, task: str) -> int:
    if type(value) is not int:
        raise DecodeError(f"the header {field!r} of task {task!r} is {value!r}, not a number")
    return value
