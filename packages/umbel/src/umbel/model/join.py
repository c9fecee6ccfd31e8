"""How a store counts the header of a chord: slots that are filled, once each, until none is left.

A join is named by the group id of the header. These steps travel as effects of a settlement
(``Effects.joins``), or go to a result backend directly (``ResultBackend.join``). A store performs
the steps of one settlement in their order, in one atomic step.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from umbel.model.queues import FollowUp


class OpenJoin(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """The join has so many slots. Parts that came before are kept; opening twice changes nothing.

    ``expires``: seconds after which an unfinished one may be forgotten, None for never.
    """

    join_id: str
    size: int
    expires: float | None = None


class GrowJoin(msgspec.Struct, frozen=True, array_like=True, tag="g"):
    """So many slots more, in addition to those it was opened with."""

    join_id: str
    by: int = 1


class FillSlot(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """One member has ended: its slot is filled, and stays as it is first filled.

    ``part`` is the list ``[1, task id, state, result]``, encoded by the result serializer; stores
    never open it. Parts are kept in the order of ``slot``; those without one (None) come last.
    The step that fills the last slot enqueues its ``then``, in the same atomic step; nothing does
    that a second time. ``expires``: seconds for which the parts are kept, None for ever.
    """

    join_id: str
    task_id: str
    slot: int | None
    part: bytes
    then: FollowUp
    expires: float | None = None


class CloseJoin(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """What followed has been sent: the parts are dropped, and what comes late is ignored."""

    join_id: str


JoinStep: TypeAlias = OpenJoin | GrowJoin | FillSlot | CloseJoin

CLOSED_FOR = 86400.0
"""Seconds for which a closed join is remembered, so that a late duplicate opens nothing anew."""


class JoinParts(msgspec.Struct, frozen=True):
    """What a store knows of one join. ``size`` is None where it was never opened here."""

    size: int | None
    parts: tuple[bytes, ...]
    """In the order of their slots."""
    closed: bool = False

    @property
    def complete(self) -> bool:
        """Whether every slot is filled and nothing has followed yet."""
        return not self.closed and self.size is not None and len(self.parts) >= self.size
