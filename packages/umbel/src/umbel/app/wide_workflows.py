"""Groups and headers of many members, sent in pieces: memory for a piece, and for the handles.

Called by ``workflow_sending``. Each piece is a workflow of its own with the ids of the whole; the
join of a header is opened with the number of all before the first piece is sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from umbel.app.workflow_calls import addressed, counting_backend, look_pause
from umbel.model.join import OpenJoin
from umbel.workflows.beginning import Launch, member_launches
from umbel.workflows.freezing import assign_ids, handle_on
from umbel.workflows.planning import Sig, members_in, read_all

if TYPE_CHECKING:
    from umbel.app.app import App

PIECE = 1000
"""Members of one piece."""

Send = Callable[[Iterator[Launch | OpenJoin]], None]


def send_wide(
    app: App,
    shell: Sig,
    members: Iterable[Mapping[str, Any]],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    send: Send,
) -> Any:
    """Send a group or chord whose members are not in it yet; return its handle.

    ``members`` of a chord are walked twice: to count them, and to send them.
    """
    assign_ids(shell)
    expires = app.settings.result_chord_expires
    is_chord = shell["subtask_type"] == "chord"
    group_id = shell["options"]["task_id"]
    if is_chord:
        join = OpenJoin(group_id, sum(map(members_in, members)), expires)
        counting_backend(app).join([join])
    if shell["immutable"]:
        args, kwargs = (), {}
    handles: list[Any] = []
    whole = shell
    for piece in _pieces(shell, members):
        whole = addressed(app, piece)
        first = len(handles)
        look = partial(look_pause, app)
        send(member_launches(whole, args, kwargs, expires=expires, first=first, look=look))
        header = whole["kwargs"]["header"] if is_chord else whole
        handles.extend(handle_on(one, app) for one in header["kwargs"]["tasks"])
    handle = app.GroupResult(group_id, handles)
    if not is_chord:
        return handle
    handle.members_may_fail = "policy" in whole["options"]
    return handle_on(whole["kwargs"]["body"], app, handle)


def with_members(shell: Sig, members: list[Any]) -> Sig:
    """Return the workflow with these members."""
    if shell["subtask_type"] == "chord":
        header = with_members(shell["kwargs"]["header"], members)
        return {**shell, "kwargs": {**shell["kwargs"], "header": header}}
    return {**shell, "kwargs": {**shell["kwargs"], "tasks": members}}


def _pieces(shell: Sig, members: Iterable[Mapping[str, Any]]) -> Iterator[Sig]:
    walk = iter(members)
    while piece := [read_all(one) for one in itertools.islice(walk, PIECE)]:
        yield with_members(shell, piece)
        # What is linked to a group goes with its first member alone.
        group = shell["kwargs"]["header"] if shell["subtask_type"] == "chord" else shell
        group["options"].pop("link", None)
