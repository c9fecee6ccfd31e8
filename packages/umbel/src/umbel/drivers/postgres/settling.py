"""The settlements of one exchange: their statements, and what the answers to these mean.

``consumer`` makes one for each exchange that settles. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from umbel.drivers.postgres import joins, packing
from umbel.drivers.postgres.bells import Bell, Bells
from umbel.drivers.postgres.connection import Connection, Rows, Step
from umbel.model.delivery import Receipt, Settlement


class Settling:
    """``steps`` are to be run first in the transaction of the exchange; ``rows`` answer them."""

    def __init__(
        self,
        connection: Connection,
        bells: Bells,
        settlements: Sequence[Settlement],
        *,
        owner: int,
        worker: str,
        here: bool,
    ) -> None:
        """``here``: records and joins are kept in the same transaction."""
        self._settlements = settlements
        self._batches = packing.batches(settlements)
        self._runs: list[tuple[int, joins.Run]] = []
        """Where in the steps each of these is."""
        self.steps: list[Step] = []
        joining = here and any(each.effects.joins for each in settlements)
        if joining:
            every = [step for each in settlements for step in each.effects.joins]
            self.steps += joins.locks(connection, bells, every)
        self._ends: list[int] = []
        """Where in the steps the end of each batch is."""
        for batch in self._batches:
            if joining:
                self._join(connection, owner, batch)
            name, values = batch.statement(owner, worker, here=here)
            self._ends.append(len(self.steps))
            self.steps.append(connection.step(name, **values))

    def _join(self, connection: Connection, owner: int, batch: packing.Batch) -> None:
        # Before the end, while the claims are there to be looked at.
        wanted = [
            (number, step)
            for number, each in zip(batch.ids, batch.settlements, strict=True)
            for step in each.effects.joins
        ]
        if not wanted:
            return
        held = list(dict.fromkeys(number for number, _ in wanted))
        self.steps.append(connection.step("hold", owner=owner, ids=held))
        for run in joins.runs(connection, owner, wanted, send=True):
            self._runs.append((len(self.steps), run))
            self.steps.append(run.step)

    def lost(self, rows: Sequence[Rows]) -> tuple[Receipt, ...]:
        """Return the receipts whose claims were not ours."""
        ended = [rows[at] for at in self._ends]
        return packing.lost(self._settlements, self._batches, ended)

    def followed(self, rows: Sequence[Rows]) -> list[str]:
        """Return the queues to which something was sent because a join is complete."""
        return [then.queue.name for at, run in self._runs for then in run.sent(rows[at])]


def rings_of(
    bells: Bells, settlements: Sequence[Settlement], own: Sequence[Bell], *, here: bool
) -> list[tuple[Bell, str]]:
    """Return what to ring when these are settled; ``own``: the bells of the claims' queues."""
    rings = bells.of_queues(packing.destinations(settlements))
    if any(packing.goes_back(each) for each in settlements):
        rings += [(bell, "") for bell in own]
    if here:
        rings += bells.of_results(
            record.task_id for each in settlements for record in each.effects.records
        )
    return rings
