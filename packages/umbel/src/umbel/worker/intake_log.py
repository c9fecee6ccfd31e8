"""What the intake says in the log. Called by ``intake`` alone; decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set

from umbel.errors import OperationalError
from umbel.model.delivery import Receipt, Settlement
from umbel.wire.envelope import Peek
from umbel.worker.admission import Rest, SetAside

logger = logging.getLogger("umbel.worker")


def sentence(error: OperationalError) -> str:
    """Return what an error says, with its full stop."""
    text = str(error).rstrip()
    return text if text.endswith(".") else f"{text}."


def log_refused(settlements: Sequence[Settlement], refused: Set[Receipt]) -> None:
    """Say that the ends of these runs do not count: somebody else has their tasks now."""
    for settlement in settlements:
        if settlement.receipt in refused:
            ids = [record.task_id for record in settlement.effects.records]
            logger.warning(
                "The end of a run was refused, with its result, its acknowledgement and what it"
                " would have sent: its lease had run out, and another worker may run it again%s",
                f" ({', '.join(ids)})" if ids else "",
            )


def log_decision(peek: Peek, decision: object) -> None:
    """Say why a delivery is not run now."""
    name = peek.shadow or peek.task
    match decision:
        case Rest(why=why):
            level = logging.WARNING if "registered" in why else logging.DEBUG
            logger.log(level, "Task %s[%s] waits: %s", name, peek.id, why)
        case SetAside(why=why):
            logger.error("Task %s[%s] is set aside: %s", name, peek.id, why)
        case _:
            why = getattr(decision, "why", "")
            logger.log(
                logging.ERROR if "registered" in why else logging.INFO,
                "Discarding task %s[%s]: %s",
                name,
                peek.id,
                why,
            )
