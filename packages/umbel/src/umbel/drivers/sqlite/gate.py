"""The gate of the SQLite driver: limits, over its consumer's connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from umbel.clock import Clock
from umbel.drivers.sqlite import bells, limits
from umbel.drivers.sqlite.bells import Interest
from umbel.drivers.sqlite.connection import Connection
from umbel.drivers.sqlite.limits import Moment
from umbel.model.shared_limits import Token, Wish
from umbel.ports import Gate


class SqliteGate(Gate):
    """Belongs to the consumer's thread."""

    def __init__(self, connection: Connection, clock: Clock, owner: Callable[[], int]) -> None:
        """``owner``: the number of the consumer's lease now."""
        self._connection = connection
        self._clock = clock
        self._owner = owner
        self._swept = ""

    def _moment(self) -> Moment:
        return Moment(self._clock.now().timestamp(), self._clock.monotonic())

    def admit(self, wishes: Sequence[Wish]) -> Sequence[float | None]:
        at, owner = self._moment(), self._owner()
        with self._connection.writing() as database:
            answers = [limits.admit(database, owner, wish, at) for wish in wishes]
        if None in answers:
            self._ring()
        return answers

    def release(self, tokens: Sequence[Token]) -> None:
        with self._connection.writing() as database:
            gone = limits.release(database, self._owner(), tokens, self._moment().now)
        if gone:
            self._ring()

    def sweep(self, tokens: Sequence[Token]) -> None:  # noqa: ARG002 - the lease keeps them
        with self._connection.writing() as database:
            gone, self._swept = limits.sweep(database, self._swept, self._moment())
        if gone:
            self._ring()

    def _ring(self) -> None:
        bells.ring(self._connection.location.path, Interest.MESSAGES)
