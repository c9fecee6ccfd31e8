"""The built-in task ``celery.chord_unlock``: from the header of a chord to its body.

Its message is enqueued by the store when the last slot of the header is filled. It may run any
number of times, on any node; what follows is sent together with its end, and once that is done the
join is closed, so that a run that comes later does nothing. Messages of this name that a Celery
client sends, beside a store that it cannot count in, list the members: then it looks at these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.result_reading import read_record
from umbel.app.result_trees import leaves_of, result_from_tuple
from umbel.errors import ChordError, Ignore, OperationalError
from umbel.model.join import JoinParts
from umbel.model.outcome import READY_STATES
from umbel.wire.gathering import GATHERING_TASK
from umbel.wire.join_part import decode_part
from umbel.wire.serializers import SERIALIZERS
from umbel.workflows.advancing import Part, header_values
from umbel.workflows.headers import HeaderOver

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task

UNLOCK_OPTIONS: Mapping[str, Any] = {
    "name": GATHERING_TASK,
    "bind": True,
    "ignore_result": True,
    "acks_late": True,
    "max_retries": None,
}


class _NotYet(Exception):
    """A member of the header has not ended."""


def chord_unlock(
    self: Task[..., Any],
    group_id: str,
    callback: Mapping[str, Any],
    interval: float | None = None,
    max_retries: int | None = None,
    result: Any = None,
    **_: Any,
) -> None:
    """Send the body of a chord, with the values of its header, or fail it."""
    app = self.app
    pause = interval or app.settings.result_chord_retry_interval
    try:
        parts = _look(app, group_id, result)
    except OperationalError as error:
        # Nobody else goes on with this chord: it is tried until the store is back.
        raise self.retry(countdown=pause, exc=error) from error
    except _NotYet:
        raise self.retry(countdown=pause, max_retries=max_retries) from None
    if parts is not None:
        raise _over(group_id, callback, parts)


def _look(app: App, group_id: str, result: Any) -> list[Part] | None:
    """Return how the members ended, None when there is nothing to do any more.

    Raises OperationalError, and _NotYet while a member has not ended.
    """
    found = app.result_backend.fetch_join(group_id) if app.result_backend.counts_joins else None
    if found is not None and (found.closed or found.size is not None):
        # Closed: done before. Still open: whoever fills the last slot sends again.
        return _parts(app, found) if found.complete else None
    return _looked_up(app, result) if isinstance(result, list | tuple) else None


def _over(join_id: str, body: Mapping[str, Any], parts: Sequence[Part]) -> Ignore:
    directive = Ignore(f"the header of chord {join_id} is over")
    try:
        end = HeaderOver(join_id, body, header_values(parts), None)
    except ChordError as error:
        end = HeaderOver(join_id, body, None, error)
    directive.outgoing = end
    return directive


def _parts(app: App, found: JoinParts) -> list[Part]:
    serializer = SERIALIZERS.get(app.settings.result_serializer)
    return [Part(*decode_part(part, serializer=serializer)) for part in found.parts]


def _looked_up(app: App, result: Sequence[Any]) -> list[Part]:
    """Return how these members ended. Raises _NotYet while one of them has not."""
    ids = [leaf.id for one in result for leaf in leaves_of(result_from_tuple(one, app))]
    records = app.result_backend.fetch(ids)
    if any(one not in records or records[one].state not in READY_STATES for one in ids):
        raise _NotYet
    read = [read_record(app, records[one]) for one in ids]
    return [Part(one, meta["status"], meta["result"]) for one, meta in zip(ids, read, strict=True)]
