"""Every claim this worker holds, and the step of its life. Owned by the supervisor's main thread.

The step table is ``model.lifecycle``; a step that is not in it is a bug and raises.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from umbel.model.delivery import Delivery, Receipt
from umbel.model.lifecycle import Step, step
from umbel.wire.envelope import Peek
from umbel.worker.admission import Run
from umbel.worker.obituaries import Found


class Entry(msgspec.Struct, eq=False):
    """One claim. ``waits_since``: monotonic seconds since it has waited for an executor;
    ``began_at``: when it was handed to one."""

    id: int
    delivery: Delivery
    peek: Peek
    run: Run
    acked: bool
    """The broker has forgotten it already (early acknowledgement)."""
    step: Step = Step.CLAIMED
    waits_since: float = 0.0
    began_at: float = 0.0
    found: Found | None = None
    """How it ended, while an executor tells who follows."""
    signum: int | None = None
    """The signal that ``revoke(terminate=True)`` named."""
    ending: str | None = None
    """What the supervisor has ordered to end it: ``time limit``, ``terminated`` or ``revoked``."""

    @property
    def stays(self) -> bool:
        """Nobody else may have it."""
        return self.acked or self.found is not None


class Ledger:
    """The claims by assignment id and by receipt. One thread."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._ids: dict[Receipt, int] = {}
        self._tasks: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def open(self, delivery: Delivery, peek: Peek, run: Run, *, acked: bool) -> Entry:
        """Write down a new claim."""
        self._next += 1
        entry = Entry(self._next, delivery, peek, run, acked)
        self._entries[entry.id] = entry
        self._ids[delivery.receipt] = entry.id
        self._tasks[peek.id] = entry.id
        return entry

    def get(self, entry_id: int) -> Entry | None:
        """Return the claim, or None when it was closed already."""
        return self._entries.get(entry_id)

    def by_receipt(self, receipt: Receipt) -> Entry | None:
        """Return the open claim with this receipt."""
        entry_id = self._ids.get(receipt)
        return None if entry_id is None else self._entries.get(entry_id)

    def by_task_id(self, task_id: str) -> Entry | None:
        """Return the open claim of this task id (the latest, should there be two)."""
        entry_id = self._tasks.get(task_id)
        return None if entry_id is None else self._entries.get(entry_id)

    def move(self, entry: Entry, new: Step) -> None:
        """Take one step; raises IllegalStep."""
        entry.step = step(entry.step, new)

    def close(self, entry: Entry) -> None:
        """Forget a claim: its verdict is on the way to the broker, or somebody else holds it."""
        self._entries.pop(entry.id, None)
        self._ids.pop(entry.delivery.receipt, None)
        if self._tasks.get(entry.peek.id) == entry.id:
            del self._tasks[entry.peek.id]
