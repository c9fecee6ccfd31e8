"""The runs of a workflow as a tree, and how each of them stands.

Pure: a signature in normal form and what is stored of its runs in, nodes out. Called by the app for
``Kept.status`` and by ``redoing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from umbel.model.outcome import READY_STATES
from umbel.workflows import policies
from umbel.workflows.freezing import id_of
from umbel.workflows.planning import Sig
from umbel.workflows.policies import Part

WAITING = "WAITING"
"""The state of a run that has not been sent: something before it is not over."""

Ends = Mapping[str, Part]
"""What is stored of runs: by id, a state and a value."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a workflow, or several that are joined."""

    kind: str
    """``task``, ``chain``, ``group`` or ``chord``."""
    id: str | None
    """Of a task its id, of a group or chord that of the group, of a chain that of its last run."""
    state: str
    """A state of Celery's, or WAITING: it has not been sent."""
    task: str | None = None
    """The name of the task, where this is one."""
    error: str | None = None
    """What a run that failed raised."""
    parts: tuple[Node, ...] = ()
    """The steps of a chain, the members of a group, the header of a chord."""
    body: Node | None = None
    """The body of a chord."""

    @property
    def over(self) -> bool:
        """Whether nothing of it can still change."""
        return self.state in READY_STATES

    def runs(self) -> Iterator[Node]:
        """Walk the single runs in it."""
        if self.kind == "task":
            yield self
        for part in self.parts:
            yield from part.runs()
        if self.body is not None:
            yield from self.body.runs()


def run_ids(sig: Sig) -> Iterator[str]:
    """Walk the ids of all runs of a workflow in normal form."""
    kwargs = sig["kwargs"]
    match sig["subtask_type"]:
        case "chain" | "group":
            for one in kwargs["tasks"]:
                yield from run_ids(one)
        case "chord":
            for one in kwargs["header"]["kwargs"]["tasks"]:
                yield from run_ids(one)
            yield from run_ids(kwargs["body"])
        case _:
            yield sig["options"]["task_id"]


def node_of(sig: Sig, ends: Ends, *, begun: bool = True) -> Node:
    """Return how a workflow in normal form stands. ``begun``: whether what comes first was sent."""
    kwargs = sig["kwargs"]
    match sig["subtask_type"]:
        case "chain":
            steps: list[Node] = []
            for one in kwargs["tasks"]:
                steps.append(node_of(one, ends, begun=begun))
                begun = begun and steps[-1].state == "SUCCESS"
            state = _of_chain(steps, begun)
            return Node(kind="chain", id=id_of(sig), state=state, parts=tuple(steps))
        case "group":
            members = tuple(node_of(one, ends, begun=begun) for one in kwargs["tasks"])
            state = _of_all(members, begun)
            return Node(kind="group", id=sig["options"]["task_id"], state=state, parts=members)
        case "chord":
            return _chord_node(sig, ends, begun)
        case _:
            return _run_node(sig, ends, begun)


def _run_node(sig: Sig, ends: Ends, begun: bool) -> Node:
    task_id = sig["options"]["task_id"]
    end = ends.get(task_id)
    if end is None:
        state, error = "PENDING" if begun else WAITING, None
    else:
        state = end.state
        error = repr(end.value) if state in ("FAILURE", "REVOKED", "RETRY") else None
    return Node(kind="task", id=task_id, state=state, task=sig["task"], error=error)


def _chord_node(sig: Sig, ends: Ends, begun: bool) -> Node:
    kwargs = sig["kwargs"]
    members = tuple(node_of(one, ends, begun=begun) for one in kwargs["header"]["kwargs"]["tasks"])
    policy = policies.checked(sig["options"].get(policies.OPTION))
    body = node_of(kwargs["body"], ends, begun=begun and _goes_on(members, policy))
    state = body.state if body.over or not members else _of_all(members, begun)
    if state in READY_STATES and not body.over:
        state = "STARTED"
    group_id = sig["options"]["task_id"]
    return Node(kind="chord", id=group_id, state=state, parts=members, body=body)


def _goes_on(members: Sequence[Node], policy: str) -> bool:
    """Tell whether the body of a chord is sent, the members of its header being so."""
    wanted = policies.wanted_by(policy)
    if wanted is not None:
        return sum(one.state == "SUCCESS" for one in members) >= wanted
    if policy == policies.all_done:
        return all(one.over for one in members)
    return all(one.state == "SUCCESS" for one in members)


def _of_chain(steps: Sequence[Node], begun: bool) -> str:
    if not steps:
        return "SUCCESS" if begun else WAITING
    for one in steps:
        if one.over and one.state != "SUCCESS":
            return one.state
    if steps[-1].state == "SUCCESS":
        return "SUCCESS"
    return (
        "STARTED" if any(one.state not in ("PENDING", WAITING) for one in steps) else steps[0].state
    )


def _of_all(members: Sequence[Node], begun: bool) -> str:
    states = {one.state for one in members}
    if states <= READY_STATES:
        return next((one for one in ("FAILURE", "REVOKED") if one in states), "SUCCESS")
    if states <= {"PENDING", WAITING}:
        return "PENDING" if begun else WAITING
    return "STARTED"


# --- drawing it -----------------------------------------------------------------------------------

SHOWN = 20
"""So many members are drawn one by one; of more, those that did not succeed, and a number."""


def drawn(node: Node) -> Iterator[str]:
    """Walk the lines of the tree, for people."""
    yield from _lines(node, "", "")


def _lines(node: Node, first: str, rest: str) -> Iterator[str]:
    yield f"{first}{_title(node)}"
    below: list[Node] = list(node.parts)
    more = ""
    if len(below) > SHOWN:
        below = [one for one in below if one.state != "SUCCESS"][:SHOWN]
        more = f"... {len(node.parts) - len(below):,} more"
    count = len(below) + bool(more) + (node.body is not None)
    for number, part in enumerate(below, 1):
        last = number == count
        corner, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _lines(part, rest + corner, rest + bar)
    if more:
        yield f"{rest}{'├─ ' if node.body is not None else '└─ '}{more}"
    if node.body is not None:
        yield from _lines(node.body, f"{rest}└─ then ", f"{rest}   ")


def _title(node: Node) -> str:
    if node.kind == "task":
        error = f"  {node.error}" if node.error else ""
        return f"{node.task} {node.id}  {node.state}{error}"
    counts: dict[str, int] = {}
    for part in node.parts:
        counts[part.state] = counts.get(part.state, 0) + 1
    told = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    return f"{node.kind} of {len(node.parts):,}  {node.state}" + (f"  ({told})" if told else "")
