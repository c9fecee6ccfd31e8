"""What is sent to begin a workflow: launches of single tasks, and joins to open before them.

Pure: a signature in normal form (``planning``) in, launches and joins out. Called by the app for
what a client sends, by workers and eager runs for what follows a run. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from umbel.model.join import OpenJoin
from umbel.workflows import policies
from umbel.workflows.planning import Sig, placed


class Launch(msgspec.Struct, frozen=True):
    """One message to send: a plain task with everything that follows it in its options."""

    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]


def launches(
    sig: Sig,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    expires: float | None = None,
) -> Iterator[Launch | OpenJoin]:
    """Walk what must be done, in this order, to begin a workflow that is in normal form.

    A join is opened before the members that fill it are sent. ``args`` and ``kwargs`` are those of
    the first tasks; ``expires`` is the life of an unfinished join in seconds. Yields lazily, so a
    wide group takes no more memory than its signature.
    """
    args, kwargs = tuple(args), kwargs or {}
    if sig["immutable"] and sig["subtask_type"] in ("chain", "group", "chord"):
        args, kwargs = (), {}
    match sig["subtask_type"]:
        case "chain":
            first, *rest = sig["kwargs"]["tasks"] or (None,)
            if first is not None:
                yield _launch(first, args, kwargs, rest[::-1])
        case "group":
            yield from member_launches(sig, args, kwargs, expires=expires)
        case "chord":
            yield from _chord_launches(sig, args, kwargs, expires)
        case _:
            yield _launch(sig, args, kwargs, None)


def _chord_launches(
    sig: Sig, args: tuple[Any, ...], kwargs: Mapping[str, Any], expires: float | None
) -> Iterator[Launch | OpenJoin]:
    members, body = sig["kwargs"]["header"]["kwargs"]["tasks"], sig["kwargs"]["body"]
    group_id = sig["options"]["task_id"]
    policy = policies.checked(sig["options"].get(policies.OPTION))
    if not members:
        yield from launches(body, ([],), expires=expires)
        return
    for join_id, size in policies.joins_of(group_id, policy, len(members)):
        yield OpenJoin(join_id, size, expires)
    yield from member_launches(sig, args, kwargs, expires=expires)


def member_launches(
    sig: Sig,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    expires: float | None,
    first: int = 0,
) -> Iterator[Launch | OpenJoin]:
    """Walk what begins the members of a group, or of a chord's header whose join is open.

    ``first`` is the place of the first of them, where these are not all.
    """
    place: dict[str, Any] = {"group_id": sig["options"]["task_id"]}
    members = sig["kwargs"].get("tasks")
    if sig["subtask_type"] == "chord":
        members = sig["kwargs"]["header"]["kwargs"]["tasks"]
        policy = policies.checked(sig["options"].get(policies.OPTION))
        place["chord"] = policies.with_policy(sig["kwargs"]["body"], policy)
    for index, member in enumerate(members or (), first):
        placing = {**place, "group_index": index}
        yield from launches(placed(member, placing), args, kwargs, expires=expires)


def _launch(
    sig: Sig, args: tuple[Any, ...], kwargs: Mapping[str, Any], chain: list[Sig] | None
) -> Launch:
    options = sig["options"]
    if chain:
        options = {**options, "chain": chain}
    if sig["immutable"]:
        return Launch(sig["task"], tuple(sig["args"]), sig["kwargs"], options)
    return Launch(sig["task"], (*args, *sig["args"]), {**sig["kwargs"], **kwargs}, options)
