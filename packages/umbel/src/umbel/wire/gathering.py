"""The message between the header of a chord and its body.

Whoever fills the last slot of a join has this message enqueued by the store, in the same step. It
runs the built-in task ``celery.chord_unlock``, whose name and first arguments are Celery's, so that
a Celery worker which meets it does the same; it reads the parts and goes on with the body, or fails
it. Pure; called by ``worker.following`` and ``worker.endings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.model.message import TaskMessage
from umbel.wire.derived_ids import derived_id

GATHERING_TASK = "celery.chord_unlock"

MEMBERS = "umbel:members"
"""In the place of the list of members, which a store that Celery shares writes there."""

MEMBERS_TEXT = b'"umbel:members"'
"""The same as JSON."""


def gathering_message(
    join_id: str, body: Mapping[str, Any], *, parent_id: str | None, root_id: str | None
) -> TaskMessage:
    """Return the message; of one join always with the same id."""
    options = body.get("options") or {}
    return TaskMessage(
        id=derived_id(join_id, "gathering"),
        task=GATHERING_TASK,
        args=(join_id, body),
        kwargs={"result": MEMBERS},
        parent_id=parent_id,
        root_id=root_id,
        ignore_result=True,
        priority=options.get("priority") if isinstance(options.get("priority"), int) else None,
        argsrepr=repr((join_id, "...")),
    )
