"""What follows the end of a run, however it ended: pure decisions over the message of the run.

One rule for errors. A run that fails for good

* fails, with its own error, every run after it that will now never begin: the steps of its chain
  that are left, and all that is in them; nothing waits for what cannot come;
* fills its slot, and those of the runs that never begin, in the headers of the chords that they
  are members of: a failed slot is a filled one, and when no slot is left open the body fails with a
  ChordError that names the first failed member, by the same rule;
* calls its own error callbacks, once; for a chord whose header failed, those of its body.

Called by ``worker.following``, ``worker.endings`` and eager runs, which make records and messages
of what is decided here. Sends and stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from umbel.errors import ChordError
from umbel.model.message import TaskMessage
from umbel.wire.derived_ids import derived_id
from umbel.workflows.freezing import assign_ids, ids_after
from umbel.workflows.planning import WORKFLOWS, Sig, chain_sig, copied, listed, normal, read_all


class Slot(msgspec.Struct, frozen=True):
    """The place of a run in the header of a chord."""

    join_id: str
    task_id: str
    index: int | None
    body: Mapping[str, Any]


class NeverBegun(msgspec.Struct, frozen=True):
    """A run that will never begin, and its place in a chord, if it has one."""

    task_id: str
    slot: Slot | None


class Errback(msgspec.Struct, frozen=True):
    """An error callback to call, and the id that it is called about."""

    failed_id: str
    signature: Mapping[str, Any]


# --- a run that ended -----------------------------------------------------------------------------


def slot_of(message: TaskMessage) -> Slot | None:
    """Return the slot that this run fills when it is over, or None."""
    if message.chord is None or not message.group_id:
        return None
    return Slot(message.group_id, message.id, message.group_index, message.chord)


def callbacks_of(message: TaskMessage) -> Iterator[Sig]:
    """Yield the callbacks to begin when this run succeeded.

    In normal form, with ids that belong to the run: the same end begins the same runs.
    """
    callbacks = message.callbacks or ()
    make = ids_after(message.id, message.retries, "callback")
    for index, callback in enumerate(callbacks):
        one = copied(callback)
        if len(callbacks) > 1 and not one["subtask_type"]:
            # Celery's documented behaviour: several callbacks are sent as one new group.
            place = {"group_id": derived_id(message.id, "callbacks"), "group_index": index}
            one["options"] = {**place, **one["options"]}
        yield with_ids(one, make)


def next_step(message: TaskMessage) -> Sig | None:
    """Return what is left of this run's chain, in normal form, or None."""
    if not message.chain:
        return None
    *rest, step = message.chain
    make = ids_after(message.id, "next")
    if step.get("subtask_type") in WORKFLOWS:
        return with_ids(chain_sig([step, *reversed(rest)]), make)
    first = copied(step)
    assign_ids(first, make)
    # The steps after it are only handed on: to read them would cost a long chain its square.
    return chain_sig([first, *reversed(rest)]) if rest else first


def with_ids(sig: Mapping[str, Any], make: Any) -> Sig:
    """Return the normal form, every node with an id."""
    if not sig.get("subtask_type"):
        one = copied(sig)
        assign_ids(one, make)
        return one
    whole = read_all(sig)
    assign_ids(whole, make)
    return normal(whole)


def never_begun(steps: Sequence[Mapping[str, Any]] | None) -> Iterator[NeverBegun]:
    """Yield every run, that has an id, of steps that will never begin."""
    waiting = list(steps or ())
    while waiting:
        sig = waiting.pop()
        kwargs = sig.get("kwargs") or {}
        match sig.get("subtask_type"):
            case "chain" | "group":
                waiting.extend(reversed(kwargs.get("tasks") or ()))
            case "chord":
                header = kwargs.get("header") or ()
                waiting.append(kwargs.get("body") or {})
                waiting.extend([header] if isinstance(header, Mapping) else header)
            case _:
                options = sig.get("options")
                if isinstance(options, Mapping) and options.get("task_id"):
                    yield _left_out(options)


def _left_out(options: Mapping[str, Any]) -> NeverBegun:
    task_id, chord = str(options["task_id"]), options.get("chord")
    slot = None
    if isinstance(chord, Mapping) and options.get("group_id"):
        slot = Slot(options["group_id"], task_id, options.get("group_index"), chord)
    return NeverBegun(task_id, slot)


def errbacks_of(message: TaskMessage) -> list[Errback]:
    """Return the error callbacks of a run that failed."""
    return [Errback(message.id, one) for one in message.errbacks or ()]


# --- a chord whose header is over -----------------------------------------------------------------


class Part(msgspec.Struct, frozen=True):
    """How one member of a header ended: its value, or its error."""

    task_id: str
    state: str
    value: Any


def header_values(parts: Sequence[Part]) -> list[Any]:
    """Return the values for the body, in order. Raises ChordError naming the first that failed."""
    for part in parts:
        if part.state != "SUCCESS":
            raise ChordError(f"Dependency {part.task_id} raised {part.value!r}")
    return [part.value for part in parts]


def errbacks_of_body(body: Mapping[str, Any]) -> list[Errback]:
    """Return the error callbacks that hear of a header's failure: those where the body begins."""
    kwargs = body.get("kwargs") or {}
    match body.get("subtask_type"):
        case "chain":
            tasks = kwargs.get("tasks") or ()
            return errbacks_of_body(tasks[0]) if tasks else []
        case "chord":
            return errbacks_of_body(kwargs.get("body") or {})
        case "group":
            return [one for each in kwargs.get("tasks") or () for one in errbacks_of_body(each)]
        case _:
            options = body.get("options") or {}
            errbacks = listed(options.get("link_error"))
            return [Errback(str(options.get("task_id")), one) for one in errbacks]


def body_workflow(body: Mapping[str, Any], join_id: str) -> Sig:
    """Return the body of a chord in normal form, every node with an id."""
    return with_ids(body, ids_after(join_id, "body"))
