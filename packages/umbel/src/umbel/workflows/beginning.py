"""What is sent to begin a workflow: launches of single tasks, and joins to open before them.

Pure: a signature in normal form (``planning``) in, launches and joins out. Called by the app for
what a client sends, by workers and eager runs for what follows a run. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from umbel.errors import NoResultBackend
from umbel.model.join import OpenJoin
from umbel.wire.derived_ids import derived_id
from umbel.wire.gathering import GATHERING_TASK
from umbel.workflows import policies
from umbel.workflows.freezing import id_of
from umbel.workflows.planning import Sig, placed

_WAY = frozenset({"queue", "exchange", "routing_key", "priority"})
"""Options by which the message that looks at a header goes the way of the body."""

Look: TypeAlias = Callable[[], float | None]


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
    look: Look = lambda: None,
) -> Iterator[Launch | OpenJoin]:
    """Walk what must be done, in this order, to begin a workflow that is in normal form.

    A join is opened before the members that fill it are sent. ``args`` and ``kwargs`` are those of
    the first tasks; ``expires`` is the life of an unfinished join in seconds. ``look`` is asked at
    a chord: where it returns seconds nothing counts, and a message after the members has somebody
    look at them that often. Yields lazily, so a wide group takes no more memory than its signature.
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
            yield from member_launches(sig, args, kwargs, expires=expires, look=look)
        case "chord":
            yield from _chord_launches(sig, args, kwargs, expires, look)
        case _:
            yield _launch(sig, args, kwargs, None)


def _chord_launches(
    sig: Sig, args: tuple[Any, ...], kwargs: Mapping[str, Any], expires: float | None, look: Look
) -> Iterator[Launch | OpenJoin]:
    members, body = sig["kwargs"]["header"]["kwargs"]["tasks"], sig["kwargs"]["body"]
    group_id = sig["options"]["task_id"]
    policy = policies.checked(sig["options"].get(policies.OPTION))
    if not members:
        yield from launches(body, ([],), expires=expires, look=look)
        return
    pause = look()
    if pause is not None:
        looking = _looking(group_id, members, body, policy, pause)
        yield from member_launches(sig, args, kwargs, expires=expires, look=look)
        yield looking
        return
    for join_id, size in policies.joins_of(group_id, policy, len(members)):
        yield OpenJoin(join_id, size, expires)
    yield from member_launches(sig, args, kwargs, expires=expires, look=look)


def _looking(
    group_id: str, members: Sequence[Mapping[str, Any]], body: Sig, policy: str, pause: float
) -> Launch:
    """Return the call that looks at the members until they have ended, as Celery sends it."""
    if policy not in (policies.all_success, policies.all_done):
        raise NoResultBackend(
            f"a chord with the policy {policy} needs a result backend that counts, such as Redis, "
            "PostgreSQL or SQLite; this one is only looked at until every member has ended."
        )
    kwargs = {
        "interval": pause,
        "max_retries": None,
        "result": [[[id_of(member), None], None] for member in members],
    }
    way = {name: one for name, one in body["options"].items() if name in _WAY}
    options = {**way, "task_id": derived_id(group_id, "looking"), "countdown": pause}
    callback = policies.with_policy(body, policy)
    return Launch(GATHERING_TASK, (group_id, callback), kwargs, options)


def member_launches(
    sig: Sig,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    expires: float | None,
    first: int = 0,
    look: Look = lambda: None,
) -> Iterator[Launch | OpenJoin]:
    """Walk what begins the members of a group, or of a chord's header whose join is open.

    ``first`` is the place of the first of them, where these are not all.
    """
    place: dict[str, Any] = {"group_id": sig["options"]["task_id"]}
    members = sig["kwargs"].get("tasks")
    if sig["subtask_type"] == "chord":
        members = sig["kwargs"]["header"]["kwargs"]["tasks"]
        policy = policies.checked(sig["options"].get(policies.OPTION))
        if look() is None:
            place["chord"] = policies.with_policy(sig["kwargs"]["body"], policy)
        else:
            # Who looks must find something: it is stored, whatever the members' tasks say.
            place["ignore_result"] = False
    for index, member in enumerate(members or (), first):
        placing = {**place, "group_index": index}
        yield from launches(placed(member, placing), args, kwargs, expires=expires, look=look)


def _launch(
    sig: Sig, args: tuple[Any, ...], kwargs: Mapping[str, Any], chain: list[Sig] | None
) -> Launch:
    options = sig["options"]
    if chain:
        options = {**options, "chain": chain}
    if sig["immutable"]:
        return Launch(sig["task"], tuple(sig["args"]), sig["kwargs"], options)
    return Launch(sig["task"], (*args, *sig["args"]), {**sig["kwargs"], **kwargs}, options)
