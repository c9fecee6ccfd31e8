"""A signature as it travels: a plain mapping with exactly six keys.

Nothing marks it as a signature; readers know from its place. Called by ``task_v2`` and the task
readers for callbacks, errbacks, chain and chord, and by ``workflows.signature``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umbel.errors import DecodeError

KEYS = ("task", "args", "kwargs", "options", "subtask_type", "immutable")


def write_signature(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    subtask_type: str | None = None,
    immutable: bool = False,
) -> dict[str, Any]:
    """Return the mapping for these parts."""
    return {
        "task": task,
        "args": args if isinstance(args, list | tuple) else tuple(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": subtask_type,
        "immutable": immutable,
    }


def read_signature(value: Any, what: str = "the signature") -> dict[str, Any]:
    """Return the mapping with all six keys; missing ones take their defaults.

    Raises DecodeError, calling the value ``what``, when it cannot be a signature. Keys beyond the
    six are dropped.
    """
    if not isinstance(value, Mapping):
        raise DecodeError(f"{what} is a {type(value).__name__}, not a mapping")
    task = value.get("task")
    if not isinstance(task, str) or not task:
        raise DecodeError(f"{what} names no task (its key 'task' is {task!r})")
    args = value.get("args")
    if args is None:
        args = ()
    if not isinstance(args, list | tuple):
        raise DecodeError(f"{what} for {task} has {type(args).__name__} args, not a list")
    return write_signature(
        task,
        args,
        _mapping(value, "kwargs", what),
        _mapping(value, "options", what),
        subtask_type=value.get("subtask_type"),
        immutable=bool(value.get("immutable", False)),
    )


def read_signatures(value: Any, what: str) -> list[dict[str, Any]] | None:
    """Return a list of signature mappings; None for None; one alone becomes a list of one."""
    if not value:
        return None
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise DecodeError(f"{what} is a {type(value).__name__}, not a list of signatures")
    return [read_signature(item, what) for item in value]


def _mapping(value: Mapping[str, Any], key: str, what: str) -> Mapping[str, Any]:
    part = value.get(key) or {}
    if not isinstance(part, Mapping):
        raise DecodeError(f"{what} has {type(part).__name__} {key}, not a mapping")
    return part
