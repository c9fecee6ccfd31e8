"""Settlements whose records and joins belong to another store than the messages.

Called by the consumers of drivers for what they still hold, before the verdicts: records first,
then joins, and what follows from these goes with the follow-ups of the settlement.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from umbel.model.delivery import Receipt, Settlement
from umbel.model.queues import FollowUp, Outgoing
from umbel.ports import ResultBackend
from umbel.wire import envelope


def stored_elsewhere(
    results: ResultBackend, settlements: Sequence[Settlement], held: Collection[Receipt]
) -> Sequence[Settlement]:
    """Store what these settlements bring, as far as their claims are held.

    Returns the settlements with what their joins made due among the messages to send. Raises
    OperationalError; storing them again changes nothing that was stored.
    """
    ours = [each for each in settlements if each.receipt in held]
    records = [record for each in ours for record in each.effects.records]
    if records:
        results.store(records)
    if not any(each.effects.joins for each in ours):
        return settlements
    return [_joined(results, each) if each.receipt in held else each for each in settlements]


def _joined(results: ResultBackend, settlement: Settlement) -> Settlement:
    effects = settlement.effects
    due = results.join(effects.joins) if effects.joins else ()
    if not due:
        return settlement
    more = (*effects.outgoing, *map(outgoing_of, due))
    return msgspec.structs.replace(
        settlement, effects=msgspec.structs.replace(effects, outgoing=more)
    )


def outgoing_of(follow_up: FollowUp) -> Outgoing:
    """Return a message that waited in its envelope as one to send."""
    return Outgoing(
        message=envelope.load(follow_up.raw), queue=follow_up.queue, due_at=follow_up.due_at
    )
