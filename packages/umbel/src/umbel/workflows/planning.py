"""How a workflow becomes messages: its normal form, and what is sent to begin it.

Pure: signatures as mappings in, mappings, launches and joins out. Called by ``canvas`` (a client
sends a workflow), and by workers and eager runs for what follows a run. Sends nothing.

In the normal form

* a chain is flat and longer than one, and only its last step may be a group or a chord: a group or
  chord that is followed by something is a chord whose body is what follows;
* a group is flat and its id is ``options["task_id"]``; options given to a workflow lie with those
  of its tasks that they are for;
* each member of a chord's header gives one value: where it would be a group, the group is a chord
  whose body, ``celery.accumulate``, returns the list.

It is made of the same six keys and may travel; making it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from umbel.model.join import OpenJoin
from umbel.wire.derived_ids import derived_id
from umbel.wire.signature_dict import read_signature, write_signature
from umbel.workflows.freezing import id_of

Sig: TypeAlias = dict[str, Any]
"""A signature as it travels."""

GATHER = "celery.accumulate"
"""The task that returns its arguments: the body of a group that must give one value."""

WORKFLOWS = frozenset({"chain", "group", "chord", "chunks"})
"""The kinds that are more than one message."""

STRUCTURE = frozenset(
    {
        "task_id",
        "group_id",
        "group_index",
        "chord",
        "chain",
        "link",
        "link_error",
        "root_id",
        "parent_id",
    }
)
"""Options that belong to one node; all others are given on to tasks."""

_HEADER_ONLY = frozenset({"countdown", "eta"})
"""Options of a chord that its body does not take."""


class Launch(msgspec.Struct, frozen=True):
    """One message to send: a plain task with everything that follows it in its options."""

    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]


# --- the normal form ------------------------------------------------------------------------------


def normal(
    sig: Mapping[str, Any], *, single: bool = False, errbacks_in_header: bool = False
) -> Sig:
    """Return the normal form of a signature whose ids are assigned.

    ``single``: it must give one value, so a group becomes a chord. ``errbacks_in_header``: error
    callbacks of a chord are those of its header too (``task_allow_error_cb_on_chord_header``).
    """
    return _Normal(errbacks_in_header).of(sig, single)


class _Normal:
    def __init__(self, errbacks_in_header: bool) -> None:
        self._errbacks_in_header = errbacks_in_header

    def of(self, sig: Mapping[str, Any], single: bool) -> Sig:
        match sig.get("subtask_type"):
            case "chain":
                return self._chain(_steps_of(sig), single)
            case "group" | "chunks":
                return self._group(sig, single)
            case "chord":
                return self._chord(sig, single)
            case _:
                return copied(sig)

    def _chain(self, steps: list[Sig], single: bool) -> Sig:
        done: list[Sig] = []
        waiting = steps[::-1]
        while waiting:
            step = waiting.pop()
            kind = step["subtask_type"]
            if kind in ("group", "chunks"):
                members = _members_of(step)
                if waiting and len(members) == 1:
                    # As in Celery, a group of one within a chain is that one.
                    waiting.extend(_steps_of(members[0])[::-1])
                    continue
                if not members and not waiting and done:
                    break
                if waiting:
                    step = chord_sig(step, chain_sig(waiting[::-1]))
                    waiting = []
            elif kind == "chord" and waiting:
                step["kwargs"] = {
                    **step["kwargs"],
                    "body": chain_sig([step["kwargs"]["body"], *waiting[::-1]]),
                }
                waiting = []
            done.append(self.of(step, single and not waiting))
        if len(done) == 1:
            return done[0]
        return chain_sig(done, {"task_id": id_of(done[-1])} if done else None)

    def _group(self, sig: Mapping[str, Any], single: bool) -> Sig:
        members = _members_of(sig)
        if single:
            return self._gathered(sig, members)
        whole = copied(sig)
        whole.update(
            task="celery.group",
            subtask_type="group",
            args=(),
            kwargs={"tasks": [self.of(member, False) for member in members]},
            options={"task_id": sig["options"]["task_id"]},
        )
        return whole

    def _gathered(self, sig: Mapping[str, Any], members: list[Sig]) -> Sig:
        own = {"task_id": sig["options"]["task_id"]}
        header = group_sig(members, own)
        body = write_signature(GATHER, (), {"index": 0}, {"task_id": derived_id(own["task_id"])})
        return self._chord(chord_sig(header, body), True)

    def _chord(self, sig: Mapping[str, Any], single: bool) -> Sig:
        header, body = sig["kwargs"]["header"], copied(sig["kwargs"]["body"])
        options = sig["options"]
        if not isinstance(header, Mapping):
            header = group_sig([copied(one) for one in header], {})
        header = copied(header)
        group_id = options.get("task_id") or header["options"]["task_id"]
        given = own_options(options)
        _give_options(header, given)
        header["args"] = (*sig["args"], *header["args"])
        header["kwargs"] = {**header["kwargs"], **(sig["kwargs"].get("kwargs") or {})}
        _give_options(body, {k: v for k, v in given.items() if k not in _HEADER_ONLY})
        errbacks = listed(options.get("link_error"))
        add_links(body, "link", listed(options.get("link")))
        add_links(body, "link_error", errbacks)
        if self._errbacks_in_header:
            add_links(header, "link_error", [*errbacks, *listed(body["options"].get("link_error"))])
        members = [self.of(member, True) for member in _members_of(header)]
        whole = chord_sig(group_sig(members, {"task_id": group_id}), self.of(body, single))
        whole["options"] = {"task_id": group_id}
        return whole


def _steps_of(sig: Mapping[str, Any]) -> list[Sig]:
    """Return the steps of a chain, flat, each with what the chain gives it; of others, itself."""
    if sig.get("subtask_type") != "chain":
        return [copied(sig)]
    steps = [step for one in sig["kwargs"].get("tasks") or () for step in _steps_of(one)]
    if not steps:
        return []
    options = sig["options"]
    first, last = steps[0], steps[-1]
    if sig["args"] and not first["immutable"]:
        first["args"] = (*sig["args"], *first["args"])
    _give_options(first, own_options(options))
    add_links(last, "link", listed(options.get("link")))
    errbacks = listed(options.get("link_error"))
    if errbacks:
        for step in steps:
            add_links(step, "link_error", errbacks)
    for name in ("group_id", "group_index", "chord"):
        if options.get(name) is not None:
            steps[-1] = last = placed_option(last, name, options[name])
    return steps


def _members_of(sig: Mapping[str, Any]) -> list[Sig]:
    """Return the members of a group, flat, each with what the group gives it."""
    if sig.get("subtask_type") == "chunks":
        sig = chunks_as_group(sig)
    members: list[Sig] = []
    for one in sig["kwargs"].get("tasks") or ():
        if one.get("subtask_type") in ("group", "chunks"):
            members.extend(_members_of(one))
        else:
            members.append(copied(one))
    options = sig["options"]
    given = own_options(options)
    errbacks = listed(options.get("link_error"))
    extra = {key: one for key, one in sig["kwargs"].items() if key != "tasks"}
    for member in members:
        if (sig["args"] or extra) and not member["immutable"]:
            member["args"] = (*sig["args"], *member["args"])
            if extra and member["subtask_type"] is None:
                member["kwargs"] = {**member["kwargs"], **extra}
        _give_options(member, given)
        add_links(member, "link_error", errbacks)
    if members:
        # Celery's rule: once, with the first member, and without its value.
        callbacks = [{**copied(one), "immutable": True} for one in listed(options.get("link"))]
        add_links(members[0], "link", callbacks)
    return members


def chunks_as_group(sig: Mapping[str, Any]) -> Sig:
    """Return the group of starmaps that a ``chunks`` stands for."""
    kwargs, options = sig["kwargs"], sig["options"]
    group_id = options.get("task_id") or ""
    items, size = list(kwargs["it"]), int(kwargs["n"])
    parts = [
        write_signature(
            "celery.starmap",
            (),
            {"task": kwargs["task"], "it": items[start : start + size]},
            {"task_id": derived_id(group_id, start)} if group_id else {},
            subtask_type="xstarmap",
        )
        for start in range(0, len(items), size)
    ]
    return group_sig(parts, options)


# --- beginning it ---------------------------------------------------------------------------------


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
            for index, member in enumerate(sig["kwargs"]["tasks"]):
                place = {"group_id": sig["options"]["task_id"], "group_index": index}
                yield from launches(placed(member, place), args, kwargs, expires=expires)
        case "chord":
            yield from _chord_launches(sig, args, kwargs, expires)
        case _:
            yield _launch(sig, args, kwargs, None)


def _chord_launches(
    sig: Sig, args: tuple[Any, ...], kwargs: Mapping[str, Any], expires: float | None
) -> Iterator[Launch | OpenJoin]:
    members, body = sig["kwargs"]["header"]["kwargs"]["tasks"], sig["kwargs"]["body"]
    group_id = sig["options"]["task_id"]
    if not members:
        yield from launches(body, ([],), expires=expires)
        return
    yield OpenJoin(group_id, len(members), expires)
    for index, member in enumerate(members):
        place = {"group_id": group_id, "group_index": index, "chord": body}
        yield from launches(placed(member, place), args, kwargs, expires=expires)


def _launch(
    sig: Sig, args: tuple[Any, ...], kwargs: Mapping[str, Any], chain: list[Sig] | None
) -> Launch:
    options = sig["options"]
    if chain:
        options = {**options, "chain": chain}
    if sig["immutable"]:
        return Launch(sig["task"], tuple(sig["args"]), sig["kwargs"], options)
    return Launch(sig["task"], (*args, *sig["args"]), {**sig["kwargs"], **kwargs}, options)


def named(sig: Sig, task_id: str) -> Sig:
    """Return a copy whose value is that of a run with this id; a group is gathered into one."""
    match sig["subtask_type"]:
        case "chain" if sig["kwargs"].get("tasks"):
            *steps, last = sig["kwargs"]["tasks"]
            tasks = [*steps, named(last, task_id)]
            options = {**sig["options"], "task_id": task_id}
            return {**sig, "kwargs": {**sig["kwargs"], "tasks": tasks}, "options": options}
        case "chord":
            body = named(sig["kwargs"]["body"], task_id)
            return {**sig, "kwargs": {**sig["kwargs"], "body": body}}
        case "group" | "chunks":
            return chord_sig(sig, write_signature(GATHER, (), {"index": 0}, {"task_id": task_id}))
        case _:
            return {**sig, "options": {**sig["options"], "task_id": task_id}}


def placed(sig: Sig, place: Mapping[str, Any]) -> Sig:
    """Return a copy whose last run is in this group, at this index, and part of this chord."""
    match sig["subtask_type"]:
        case "chain":
            *steps, last = sig["kwargs"]["tasks"]
            return {**sig, "kwargs": {**sig["kwargs"], "tasks": [*steps, placed(last, place)]}}
        case "chord":
            body = placed(sig["kwargs"]["body"], place)
            return {**sig, "kwargs": {**sig["kwargs"], "body": body}}
        case "group":
            return sig  # within a plain group: its members are of that group, and of no chord
        case _:
            return {**sig, "options": {**sig["options"], **place}}


def placed_option(sig: Sig, name: str, value: Any) -> Sig:
    """Return a copy in which one such option is set."""
    return placed(sig, {name: value})


# --- the pieces -----------------------------------------------------------------------------------


def copied(sig: Mapping[str, Any]) -> Sig:
    """Return a copy that may be changed without changing the original; arguments are shared."""
    return read_signature(sig)


def read_all(sig: Mapping[str, Any]) -> Sig:
    """Return a copy of a whole workflow, every node with its six keys.

    Raises DecodeError for a node that is no signature.
    """
    whole = read_signature(sig)
    kwargs = whole["kwargs"]
    match whole["subtask_type"]:
        case "chain" | "group":
            tasks = kwargs.get("tasks") or ()
            whole["kwargs"] = {**kwargs, "tasks": [read_all(one) for one in tasks]}
        case "chord":
            header = kwargs.get("header") or ()
            whole["kwargs"] = {
                **kwargs,
                "header": read_all(header)
                if isinstance(header, Mapping)
                else [read_all(one) for one in header],
                "body": read_all(kwargs.get("body") or {}),
            }
    return whole


def chain_sig(steps: Sequence[Mapping[str, Any]], options: Mapping[str, Any] | None = None) -> Sig:
    """Return the signature of a chain of these."""
    return write_signature(
        "celery.chain", (), {"tasks": list(steps)}, options, subtask_type="chain"
    )


def group_sig(members: Sequence[Mapping[str, Any]], options: Mapping[str, Any] | None) -> Sig:
    """Return the signature of a group of these."""
    return write_signature(
        "celery.group", (), {"tasks": list(members)}, options, subtask_type="group"
    )


def chord_sig(header: Mapping[str, Any], body: Mapping[str, Any]) -> Sig:
    kwargs = {"kwargs": {}, "header": header, "body": body}
    group_id = header["options"].get("task_id")
    options = {"task_id": group_id} if group_id else {}
    return write_signature("celery.chord", (), kwargs, options, subtask_type="chord")


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are given on to tasks."""
    return {name: value for name, value in options.items() if name not in STRUCTURE}


def _give_options(sig: Sig, given: Mapping[str, Any]) -> None:
    if given:
        sig["options"] = {**sig["options"], **given}


def listed(value: Any) -> list[Any]:
    """Return one signature, several or none as a list."""
    if not value:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


def add_links(sig: Sig, key: str, links: Sequence[Any]) -> None:
    """Add callbacks to an option that lists them, once each."""
    if links:
        there = listed(sig["options"].get(key))
        new = [one for one in links if one not in there]
        sig["options"] = {**sig["options"], key: [*there, *new]}
