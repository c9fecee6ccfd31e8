"""Messages that dead Celery workers left in kombu's ``unacked``: back to their queues.

Every process that consumes queues of a database sweeps for all of them, as kombu's do, after the
same ``visibility_timeout``, under the same lock. ``consumer`` runs it while it has nothing to do.
Umbel's own claims are never in ``unacked``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from umbel.drivers.redis.address import Options
from umbel.drivers.redis.connection import Connection
from umbel.drivers.redis.keys import Keys
from umbel.drivers.redis.scripts import RESTORE, UNLOCK

INTERVAL = 60.0
"""Seconds between sweeps of one consumer."""
LOCK_LIFE = 300_000
"""Milliseconds; kombu's own figure."""
MOST = 100
"""Messages in one sweep, so that it ends soon; what is left comes with the next one, at once."""


class Restorer:
    """Belongs to the consumer's thread."""

    def __init__(self, options: Options, keys: Keys, queues: Sequence[str]) -> None:
        self._timeout = options.visibility_timeout
        self._limit = min(MOST, options.unacked_restore_limit or MOST)
        self._keys = keys
        self._queues = queues
        self._socket_timeout = options.address.socket_timeout
        self._due = 0.0

    def run_if_due(self, connection: Connection) -> int:
        """Sweep if it is time; return how many messages went back. Raises OperationalError."""
        now = time.monotonic()
        if now < self._due:
            return 0
        self._due = now + min(INTERVAL, max(1.0, self._timeout / 4))
        restored = self._sweep(connection)
        if restored == self._limit:
            self._due = 0.0
        return restored

    def _sweep(self, connection: Connection) -> int:
        keys, deadline = self._keys, time.monotonic() + self._socket_timeout
        # Two commands at first, for nearly always there is nothing to do: no lock is needed to see.
        until = time.time() - self._timeout
        late = connection.call(
            ("ZRANGE", keys.unacked_index, "-inf", until, "BYSCORE", "LIMIT", 0, self._limit),
            deadline,
        )
        if not late:
            return 0
        token = os.urandom(16).hex()
        locked = connection.call(
            ("SET", keys.unacked_mutex, token, "NX", "PX", LOCK_LIFE), deadline
        )
        if locked is None:
            return 0
        try:
            return sum(self._restore(connection, tag, until) for tag in late)
        finally:
            if connection.connected:
                UNLOCK.run(connection, [keys.unacked_mutex], [token], deadline)

    def _restore(self, connection: Connection, tag: bytes, until: float) -> int:
        keys, deadline = self._keys, time.monotonic() + self._socket_timeout
        held = connection.call(("HGET", keys.unacked, tag), deadline)
        if held is None:
            connection.call(("ZREM", keys.unacked_index, tag), deadline)
            return 0
        raw, exchange, routing_key = _opened(held)
        queues = self._resolved(connection, exchange, routing_key, deadline)
        index = 0
        if isinstance(raw, dict):
            index = keys.step_index((raw.get("properties") or {}).get("priority", 0))
        lists = [keys.queue(queue).lists[index] for queue in queues]
        text = json.dumps(_marked(raw)) if isinstance(raw, dict) else raw
        arguments = [tag, until, text]
        return int(
            RESTORE.run(connection, [keys.unacked, keys.unacked_index, *lists], arguments, deadline)
        )

    def _resolved(
        self, connection: Connection, exchange: str, routing_key: str, deadline: float
    ) -> list[str]:
        if not exchange:
            return [routing_key]
        members = connection.call(("SMEMBERS", self._keys.binding(exchange)), deadline)
        found = self._keys.queues_bound(list(members), routing_key)
        # Differs because kombu loses a message whose binding is gone; here it stays in a queue of
        # that name, where somebody can find it.
        return found or [routing_key or exchange]


def _opened(held: bytes) -> tuple[Any, str, str]:
    """Return the envelope (decoded, or as it is where it cannot be), exchange and routing key."""
    raw, exchange, routing_key = json.loads(held)
    if isinstance(raw, str):
        # Some transports keep the envelope as text inside the entry.
        try:
            raw = json.loads(raw)
        except ValueError:
            return raw, str(exchange), str(routing_key)
    return raw, str(exchange or ""), str(routing_key or "")


def _marked(envelope: dict[str, Any]) -> dict[str, Any]:
    headers = {**(envelope.get("headers") or {}), "redelivered": True}
    properties = dict(envelope.get("properties") or {})
    info = {**(properties.get("delivery_info") or {}), "redelivered": True}
    properties["delivery_info"] = info
    return {**envelope, "headers": headers, "properties": properties}
