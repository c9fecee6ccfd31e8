"""Settlements whose records and joins belong to another store than the messages.

Called by the consumers of drivers for what they still hold. Before the verdicts: records first,
then joins, and what follows from these goes with the follow-ups of the settlement. After them: the
joins are closed whose body was among the follow-ups.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import msgspec

from umbel.errors import OperationalError
from umbel.model.delivery import Receipt, Settlement
from umbel.model.join import CloseJoin
from umbel.model.queues import FollowUp, Outgoing
from umbel.ports import ResultBackend
from umbel.wire import envelope

logger = logging.getLogger(__name__)


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
    # Where nothing counts, somebody looks at the records of a header (``workflows.planning``).
    if not results.counts_joins or not any(each.effects.joins for each in ours):
        return settlements
    return [_joined(results, each) if each.receipt in held else each for each in settlements]


def close_elsewhere(
    results: ResultBackend, settlements: Sequence[Settlement], lost: Collection[Receipt]
) -> None:
    """Close what is over by these settlements, which have been performed but for the ``lost``.

    Closing drops the results of a header. Before the body is sent, that would be the end of the
    chord if its sender died in between: whoever runs the step again finds nothing to go on with.
    A join that stays open because its store is away is forgotten when it expires.
    """
    over = [
        step
        for each in settlements
        if each.receipt not in lost
        for step in each.effects.joins
        if isinstance(step, CloseJoin)
    ]
    if not over:
        return
    try:
        results.join(over)
    except OperationalError as error:
        logger.warning("The results of a chord's header stay until they expire: %s", error)


def _joined(results: ResultBackend, settlement: Settlement) -> Settlement:
    effects = settlement.effects
    steps = [step for step in effects.joins if not isinstance(step, CloseJoin)]
    due = results.join(steps) if steps else ()
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
