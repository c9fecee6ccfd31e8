"""Ids of runs that have not begun, and the handles on them.

Called by ``canvas`` before a workflow is sent and by workers before they send what follows a run.
Changes nothing but the ids that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from umbel.wire.derived_ids import derived_id, new_id


class Handles(Protocol):
    """What makes handles; in fact the app."""

    def AsyncResult(self, id: str, **kwargs: Any) -> Any:  # noqa: A002, N802 - Celery's names
        """Make the handle of one run."""
        ...

    def GroupResult(self, id: str, results: Any, **kwargs: Any) -> Any:  # noqa: A002, N802
        """Make the handle of a group."""
        ...


def ids_after(*parts: object) -> Callable[[], str]:
    """Return a source of ids that belong to these parts, one after another."""
    numbers = iter(range(1 << 62))
    return lambda: derived_id(*parts, next(numbers))


def assign_ids(sig: Mapping[str, Any], make: Callable[[], str] = new_id) -> None:
    """Give every node of a workflow the id it will have, in place; those that have one keep it.

    The id of a chain is that of its last step, a chord's own is its group's.
    """
    options, kwargs = sig["options"], sig["kwargs"]
    match sig.get("subtask_type"):
        case "chain":
            tasks = kwargs.get("tasks") or ()
            # The chain may have been named (``task_id=``): then its last step is.
            if tasks and options.get("task_id"):
                _name_last(tasks[-1], options["task_id"])
            for one in tasks:
                assign_ids(one, make)
            if tasks and (last := id_of(tasks[-1])):
                options["task_id"] = last
        case "group":
            options["task_id"] = options.get("task_id") or make()
            for one in kwargs.get("tasks") or ():
                assign_ids(one, make)
        case "chord":
            _assign_chord(options, kwargs, make)
        case _:
            options["task_id"] = options.get("task_id") or make()


def _assign_chord(
    options: dict[str, Any], kwargs: Mapping[str, Any], make: Callable[[], str]
) -> None:
    header, body = kwargs["header"], kwargs["body"]
    if isinstance(header, Mapping):
        own = header["options"]
        own["task_id"] = own.get("task_id") or options.get("task_id") or make()
        options["task_id"] = own["task_id"]
        assign_ids(header, make)
    else:
        options["task_id"] = options.get("task_id") or make()
        for one in header:
            assign_ids(one, make)
    assign_ids(body, make)


def _name_last(sig: Mapping[str, Any], task_id: str) -> None:
    match sig.get("subtask_type"):
        case "chain":
            tasks = sig["kwargs"].get("tasks") or ()
            if tasks:
                _name_last(tasks[-1], task_id)
        case "chord":
            _name_last(sig["kwargs"]["body"], task_id)
        case _:
            sig["options"].setdefault("task_id", task_id)


def id_of(sig: Mapping[str, Any]) -> str | None:
    """Return the id of the run, or the group, whose result is that of the workflow."""
    match sig.get("subtask_type"):
        case "chain":
            tasks = sig["kwargs"].get("tasks") or ()
            return id_of(tasks[-1]) if tasks else None
        case "chord":
            return id_of(sig["kwargs"]["body"])
        case _:
            found: str | None = sig["options"].get("task_id")
            return found


def handle_on(sig: Mapping[str, Any], handles: Handles, parent: Any = None) -> Any:
    """Return the handle on a workflow in normal form: of its last run, or of its last group.

    ``.parent`` leads back to what runs before it. None for an empty chain.
    """
    match sig.get("subtask_type"):
        case "chain":
            for step in sig["kwargs"].get("tasks") or ():
                parent = handle_on(step, handles, parent)
            return parent
        case "group":
            members = [handle_on(one, handles, parent) for one in sig["kwargs"]["tasks"]]
            return handles.GroupResult(sig["options"]["task_id"], members, parent=parent)
        case "chord":
            members = sig["kwargs"]["header"]["kwargs"]["tasks"]
            if members:
                parent = handle_on(sig["kwargs"]["header"], handles, parent)
            return handle_on(sig["kwargs"]["body"], handles, parent)
        case _:
            return handles.AsyncResult(
                sig["options"]["task_id"], parent=parent, task_name=sig["task"]
            )
