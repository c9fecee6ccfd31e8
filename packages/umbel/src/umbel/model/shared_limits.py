"""Limits that all workers share: what a claim asks for before it may run, and what it holds."""

from __future__ import annotations

import msgspec

from umbel.model.delivery import Receipt

RESERVED = 60.0
"""Seconds for which a message that waited is kept a place while nobody claims it."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What one claim asks for.

    ``hold`` is the name of a limit of concurrency, its key included, and ``most`` how many may run
    under it at once; ``pace`` that of a rate, and ``interval`` the seconds between two that begin.
    None: no such limit.
    """

    receipt: Receipt
    task_id: str
    queue: str
    hold: str | None = None
    most: int = 0
    pace: str | None = None
    interval: float = 0.0


class Token(msgspec.Struct, frozen=True):
    """A place under a limit of concurrency, held by one run."""

    hold: str
    task_id: str
    most: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit of concurrency looks like now, for people."""

    name: str
    most: int
    running: tuple[str, ...]
    """Ids of the tasks that hold a place, or for which one is kept."""
    waiting: int
