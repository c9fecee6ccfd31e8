"""How the executors of a worker are, for who watches over it."""

from __future__ import annotations

import msgspec


class PoolCondition(msgspec.Struct, frozen=True, kw_only=True):
    """``ready``: executors that take work; ``wanted``: how many there should be.

    ``restarts``: how many were replaced because they died. ``startable`` false: no executor can be
    started any more.
    """

    ready: int
    wanted: int
    restarts: int = 0
    startable: bool = True
