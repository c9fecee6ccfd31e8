"""What is sent to go on with a workflow that has failed, from where it did.

Pure: a signature in normal form, what is stored of its runs, and which of them run again; launches,
joins to open and slots to fill out. Called by the app for ``Kept.resume`` and ``Kept.retry``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from umbel.errors import UsageError
from umbel.model.join import OpenJoin
from umbel.workflows import policies
from umbel.workflows.advancing import Slot
from umbel.workflows.beginning import Launch, launches
from umbel.workflows.freezing import id_of
from umbel.workflows.nodes import Ends, run_ids
from umbel.workflows.planning import Sig, chain_sig, placed
from umbel.workflows.policies import Part


class Refill(msgspec.Struct, frozen=True):
    """The slot of a member that ended before, and does not run again."""

    slot: Slot
    end: Part


Step = Launch | OpenJoin | Refill


def affected(sig: Sig, again: set[str]) -> bool:
    """Add to ``again`` every run that needs the value of one that is in it; tell whether any is."""
    kwargs = sig["kwargs"]
    match sig["subtask_type"]:
        case "chain":
            found = False
            for one in kwargs["tasks"]:
                if found:
                    again.update(run_ids(one))
                else:
                    found = affected(one, again)
            return found
        case "group":
            return any([affected(one, again) for one in kwargs["tasks"]])
        case "chord":
            if any([affected(one, again) for one in kwargs["header"]["kwargs"]["tasks"]]):
                again.update(run_ids(kwargs["body"]))
                return True
            return affected(kwargs["body"], again)
        case _:
            return sig["options"]["task_id"] in again


def redone(
    sig: Sig,
    again: set[str],
    ends: Ends,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    expires: float | None = None,
) -> Iterator[Step]:
    """Walk what must be done, in this order, to have these runs run again.

    ``again`` is closed (``affected``). ``args`` and ``kwargs`` are what the first tasks get. Raises
    UsageError where a value that is needed is not kept any more.
    """
    if again.issuperset(run_ids(sig)):
        yield from launches(sig, args, kwargs, expires=expires)
        return
    if sig["immutable"]:
        args, kwargs = (), {}
    match sig["subtask_type"]:
        case "chain":
            yield from _chain(sig, again, ends, args, kwargs, expires)
        case "group":
            place = {"group_id": sig["options"]["task_id"]}
            for index, member in enumerate(sig["kwargs"]["tasks"]):
                if _any(member, again):
                    member = placed(member, {**place, "group_index": index})  # noqa: PLW2901
                    yield from redone(member, again, ends, args, kwargs, expires=expires)
        case "chord":
            yield from _chord(sig, again, ends, args, kwargs, expires)


def _chain(
    sig: Sig,
    again: set[str],
    ends: Ends,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    expires: float | None,
) -> Iterator[Step]:
    steps = sig["kwargs"]["tasks"]
    at = next(index for index, step in enumerate(steps) if _any(step, again))
    if at:
        args, kwargs = (_value(steps[at - 1], ends),), {}
    rest = steps[at:]
    whole = rest[0] if len(rest) == 1 else chain_sig(rest, sig["options"])
    yield from redone(whole, again, ends, args, kwargs, expires=expires)


def _chord(
    sig: Sig,
    again: set[str],
    ends: Ends,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    expires: float | None,
) -> Iterator[Step]:
    members, body = sig["kwargs"]["header"]["kwargs"]["tasks"], sig["kwargs"]["body"]
    policy = policies.checked(sig["options"].get(policies.OPTION))
    if not any(_any(member, again) for member in members):
        values = policies.header_values([_end(member, ends) for member in members], policy)
        yield from redone(body, again, ends, (values,), expires=expires)
        return
    group_id, body = sig["options"]["task_id"], policies.with_policy(body, policy)
    for join_id, size in policies.joins_of(group_id, policy, len(members)):
        yield OpenJoin(join_id, size, expires)
    for index, member in enumerate(members):
        if _any(member, again):
            place = {"group_id": group_id, "group_index": index, "chord": body}
            yield from redone(placed(member, place), again, ends, args, kwargs, expires=expires)
        else:
            end = _end(member, ends)
            yield Refill(Slot(group_id, end.task_id, index, body), end)


def _any(sig: Sig, again: set[str]) -> bool:
    return not again.isdisjoint(run_ids(sig))


def _end(sig: Sig, ends: Ends) -> Part:
    """Return how the last run of a workflow that gives one value ended."""
    task_id = id_of(sig)
    found = ends.get(str(task_id))
    if found is None:
        raise UsageError(
            f"the result of {sig['task']}[{task_id}] is not kept any more (result_expires), and "
            "what runs again needs it: send the workflow anew."
        )
    return found


def _value(sig: Sig, ends: Ends) -> Any:
    return _end(sig, ends).value
