"""What the drivers' shelves have in common: results that rest in another store.

Called by ``Shelves.withdraw`` of every driver. Talks to the result backend only.
"""

from __future__ import annotations

from collections.abc import Sequence

from umbel.model.shelves import Withdrawal
from umbel.ports import ResultBackend


def results_first(results: ResultBackend, withdrawals: Sequence[Withdrawal]) -> None:
    """Forget and store what these bring, before their messages leave the shelf.

    Race: a message may leave for a worker between the look at the shelf and this. Then the record
    is stored although the message was not withdrawn: the run's own record comes after it.
    """
    forgotten = [task_id for each in withdrawals for task_id in each.forget]
    records = [record for each in withdrawals for record in each.records]
    if forgotten:
        results.forget(forgotten)
    if records:
        results.store(records)
