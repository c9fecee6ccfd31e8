"""What this worker put back until its ``eta``, so that the store's clock has the last word.

Called by ``intake``. A worker whose clock is behind the store's is handed a task that the store
holds due and that is early by its own clock. It puts it back once; when the store hands it out
again, it is due. Without this memory the two would pass it to and fro until the clocks agree.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

REMEMBERED = 10_000
"""Tasks remembered at most, the oldest first to go; one forgotten is put back once more."""


class Rested:
    """Ids and the ``eta`` they were put back for. One thread at a time."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._until: OrderedDict[str, datetime] = OrderedDict()
        self._most = most

    def note(self, task_id: str, eta: datetime) -> None:
        """Remember that this task was put back until ``eta``."""
        self._until[task_id] = eta
        self._until.move_to_end(task_id)
        if len(self._until) > self._most:
            self._until.popitem(last=False)

    def take(self, task_id: str, eta: datetime | None) -> bool:
        """Return whether it was put back for this ``eta``, and forget it.

        A retry has the id of its task and an ``eta`` of its own, so it rests anew.
        """
        return self._until.pop(task_id, None) == eta if eta is not None else False

    def forget(self) -> None:
        """Forget all: what was put back may not have come back to the store by us."""
        self._until.clear()
