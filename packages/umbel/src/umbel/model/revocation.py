"""What must not run any more: a task id, or every task with a certain stamp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_STAMP = "umbel:stamp:"


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """Kept in the store until it expires, so a task revoked with every worker down never runs.

    ``terminate``: also stop it where it runs, with ``signal`` where the pool has processes.
    ``task_id`` may be the key of a stamp (``stamp_keys``): stores keep both alike.
    """

    task_id: str
    terminate: bool = False
    signal: str = "SIGTERM"

    @property
    def stamped(self) -> bool:
        """Whether it is about a stamp, and not about one task."""
        return self.task_id.startswith(_STAMP)


def stamp_keys(stamps: Mapping[str, Any]) -> Iterator[str]:
    """Walk the keys of stamps: one for each name and each of its values."""
    for name, said in stamps.items():
        for value in said if isinstance(said, list | tuple | set | frozenset) else (said,):
            # Values are told apart as they are read back from a message, where 1 is not "1".
            text = msgspec.json.encode([name, value], enc_hook=str).decode()
            yield f"{_STAMP}{text}"
