"""A task id that must not run any more."""

from __future__ import annotations

import msgspec


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """Kept in the store until it expires, so a task revoked with every worker down never runs.

    ``terminate``: also stop it where it runs, with ``signal`` where the pool has processes.
    """

    task_id: str
    terminate: bool = False
    signal: str = "SIGTERM"
