"""What a live worker tells about itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """One worker, as its lease in the store describes it.

    ``owner`` is the incarnation id, random for each start; ``name`` the node name
    (``celery@host``); ``seen`` and ``started`` are Unix times in seconds; ``processed`` counts
    settled tasks by state.
    """

    owner: str
    name: str
    pid: int
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    version: str
    started: float
    seen: float = 0.0
    active: int = 0
    processed: Mapping[str, int] = {}
