"""One fault, and what every maker of them needs. Used by ``faults`` and ``outages``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torture.arena import Arena, Slot
from torture.planning import PlannedFault


@dataclass(slots=True, kw_only=True)
class Fault:
    """What was done. Moments are the machine's monotonic clock."""

    index: int
    name: str
    began: float
    ended: float | None = None
    """When it was undone; None while it lasts."""
    workers: tuple[str, ...] = ()
    """Whom it hit, as a whole."""
    pids: tuple[int, ...] = ()
    """Processes it killed or stopped."""
    everywhere: bool = False
    """It hit the store, and so everybody."""
    kills: str = ""
    """``executor`` or ``machine``: what ran there is to be rescued, and how fast is measured."""
    repeats: bool = False
    """Whether what was in flight there may run again."""
    lingers: float = 0.0
    """Seconds after its end in which whom it hit, or the store, may not have noticed yet."""
    detail: str = ""


Maker: TypeAlias = Callable[[Arena, PlannedFault], Fault | None]
"""Makes one fault now; None when nobody can be hit."""


def begun(planned: PlannedFault) -> Fault:
    """Return a fault that begins now."""
    return Fault(index=planned.index, name=planned.name, began=time.monotonic())


def victim_of(arena: Arena, planned: PlannedFault) -> Slot | None:
    """Choose a healthy worker while another one stays healthy."""
    healthy = arena.healthy()
    if len(healthy) < min(2, len(arena.slots)):
        return None
    at_work = [slot for slot in healthy if arena.journal.busy(slot.worker.name)] or healthy
    return at_work[int(planned.who * len(at_work))]


def disturb(
    arena: Arena, slot: Slot, fault: Fault, seconds: float, undo: Callable[[], None]
) -> None:
    """Keep other faults off a slot until this one is undone."""
    slot.disturbed += 1

    def over() -> None:
        undo()
        slot.disturbed -= 1
        fault.ended = time.monotonic()

    arena.later(seconds, over)
