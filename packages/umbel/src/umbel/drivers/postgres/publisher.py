"""Hands messages over: any number in one statement, one transaction, one round trip.

``broker`` opens publishers. Called through ``umbel.ports`` only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from umbel.drivers.postgres import packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import BROKER, Connection, Step
from umbel.errors import BrokerUnavailable
from umbel.model.queues import Outgoing
from umbel.ports import Publisher

_AT_ONCE = 5000
"""Messages of one statement; more are several statements of one transaction."""


class PostgresPublisher(Publisher):
    """One thread at a time."""

    def __init__(self, address: Address, bells: Bells) -> None:
        self._connection = Connection(address, BROKER)
        self._bells = bells

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        if not outgoing:
            return
        deadline = time.monotonic() + timeout
        steps = list(self._steps(outgoing))
        rings = self._bells.of_queues(each.queue.name for each in outgoing)
        self._connection.ensure(timeout)
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerUnavailable(
                f"the broker {self._connection.address.url} was reached too late; nothing was sent"
            )
        self._connection.run(steps, rings=rings, timeout=left)

    def _steps(self, outgoing: Sequence[Outgoing]) -> Iterator[Step]:
        for start in range(0, len(outgoing), _AT_ONCE):
            arrays, resting = packing.messages(outgoing[start : start + _AT_ONCE])
            if not resting:
                del arrays["dues"]
            name = "add_messages" if resting else "add_ready"
            yield self._connection.step(name, **arrays)

    def close(self) -> None:
        self._connection.close()
