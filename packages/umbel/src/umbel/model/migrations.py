"""A numbered change of a store's tables."""

from __future__ import annotations

from datetime import datetime

import msgspec


class MigrationStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step. ``at`` (aware, UTC) is when it was applied, None where it is pending.

    ``applied`` with ``at`` None: it was, and the store keeps no note of when.
    ``phase`` is ``pre`` (programs of the release before work on) or ``post`` (they may not).
    """

    number: int
    phase: str
    name: str
    at: datetime | None
    applied: bool = False
