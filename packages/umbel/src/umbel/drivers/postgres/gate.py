"""The gate of the PostgreSQL driver: limits that all workers share, over the consumer's session.

``consumer`` makes it. What happens is in functions of the schema (``0005_pre_limits.sql``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from umbel.drivers.postgres import packing
from umbel.drivers.postgres.connection import Connection
from umbel.model.shared_limits import Token, Wish
from umbel.ports import Gate

SWEPT = 200
"""Limits looked at in one sweep."""


class PostgresGate(Gate):
    """Belongs to the consumer's thread."""

    def __init__(
        self,
        connection: Connection,
        session: Callable[[], int],
        ring: Callable[[Iterable[str]], None],
    ) -> None:
        """``session``: have a session and a lease; the number of the lease. ``ring``: wake who
        waits at these queues."""
        self._connection = connection
        self._session = session
        self._ring = ring
        self._swept = ""

    def admit(self, wishes: Sequence[Wish]) -> Sequence[float | None]:
        rows = self._connection.one(
            "admit",
            owner=self._session(),
            ids=[packing.claim_id(wish.receipt) or -1 for wish in wishes],
            tasks=[packing.text_of(wish.task_id, "a task's id") for wish in wishes],
            holds=[_name(wish.hold) for wish in wishes],
            mosts=[wish.most for wish in wishes],
            paces=[_name(wish.pace) for wish in wishes],
            intervals=[wish.interval for wish in wishes],
        )
        answers: list[float | None] = [row[0] for row in rows]
        if None in answers:
            self._ring({wish.queue for wish in wishes})
        return answers

    def release(self, tokens: Sequence[Token]) -> None:
        rows = self._connection.one(
            "release_places",
            owner=self._session(),
            holds=[token.hold for token in tokens],
            tasks=[token.task_id for token in tokens],
            mosts=[token.most for token in tokens],
        )
        self._ring({row[0] for row in rows})

    def sweep(self, tokens: Sequence[Token]) -> None:  # noqa: ARG002 - the lease keeps them
        self._session()
        connection = self._connection
        found, _ = connection.run(
            [
                connection.step("names_blocked", after=self._swept, limit=SWEPT),
                connection.step("drop_old_limits"),
            ]
        )
        self._swept = found[-1][0] if len(found) == SWEPT else ""
        if found:
            names, mosts = [row[0] for row in found], [row[1] for row in found]
            rows = connection.one("sweep_limits", names=names, mosts=mosts)
            self._ring({row[0] for row in rows})


def _name(name: str | None) -> str | None:
    return None if name is None else packing.text_of(name, "a limit's key")
