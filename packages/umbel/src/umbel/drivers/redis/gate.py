"""The gate of the Redis driver: limits that all workers share, over the consumer's connection.

``consumer`` makes it. The keys are told in ``keys``, what they hold in ``scripts/gates.lua``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from umbel.drivers.redis.connection import Argument, Connection
from umbel.drivers.redis.keys import Keys, QueueKeys
from umbel.drivers.redis.packing import Ledger
from umbel.drivers.redis.scripts import GATE_ADMIT, GATE_PURGE, GATE_RELEASE, GATE_SWEEP
from umbel.model.shared_limits import Held, Token, Wish
from umbel.ports import Gate


class RedisGate(Gate):
    """Belongs to the consumer's thread."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        queues: Sequence[QueueKeys],
        ledger: Ledger,
        owner: str,
        session: Callable[[], float],
        name: Callable[[], str],
    ) -> None:
        """``session``: have a connection; until when to wait. ``name``: what claims are kept under
        now, where ``owner`` is the worker whose lease counts."""
        self._connection = connection
        self._keys = keys
        self._queues = queues
        self._ledger = ledger
        self._owner = owner
        self._session = session
        self._name = name
        self._swept: bytes | str = "0"

    def admit(self, wishes: Sequence[Wish]) -> Sequence[float | None]:
        deadline = self._session()
        ledger, keys = self._ledger, self._keys
        arguments: list[Argument] = [self._owner, keys.limits, len(keys.steps)]
        asked: list[int] = []
        for number, wish in enumerate(wishes):
            index = ledger.queue_of(wish.receipt)
            if index is None:
                continue
            asked.append(number)
            arguments += [index, wish.receipt, wish.queue, wish.task_id]
            arguments += [wish.hold or "", wish.most, wish.pace or "", wish.interval * 1000]
        name = self._name().encode()
        places = [keys.worker_leases, keys.limit_names, keys.limit_queues]
        for queue in self._queues:
            places += [queue.claims + name, *queue.lists]
        answers: list[float | None] = [None] * len(wishes)
        if not asked:
            return answers
        reply = GATE_ADMIT.run(self._connection, places, arguments, deadline)
        for number, answer in zip(asked, reply, strict=True):
            if answer < 0:
                ledger.forget(wishes[number].receipt)
            else:
                answers[number] = answer / 1000
        return answers

    def release(self, tokens: Sequence[Token]) -> None:
        deadline = self._session()
        arguments: list[Argument] = [self._owner, self._keys.limits]
        for token in tokens:
            arguments += [token.hold, token.task_id, token.most]
        keys = [self._keys.limit_names, self._keys.limit_queues]
        GATE_RELEASE.run(self._connection, keys, arguments, deadline)

    def sweep(self, tokens: Sequence[Token]) -> None:
        deadline = self._session()
        held = dict.fromkeys(token.hold for token in tokens)
        keys = [self._keys.worker_leases, self._keys.limit_names, self._keys.limit_queues]
        arguments: list[Argument] = [self._keys.limits, self._swept, *held]
        self._swept = GATE_SWEEP.run(self._connection, keys, arguments, deadline)


def purge(connection: Connection, keys: Keys, queue: str, deadline: float) -> int:
    """Drop what waits of a queue; return how many there were."""
    if not connection.call(("HEXISTS", keys.limit_queues, queue), deadline):
        return 0
    dropped = 0
    for name in connection.call(("HKEYS", keys.limit_names), deadline):
        places = [keys.limit_names, keys.limit_queues, keys.limits + b"waiting:" + name]
        dropped += GATE_PURGE.run(connection, places, [name, queue], deadline)
    return dropped


def held(connection: Connection, keys: Keys, most: int, deadline: float) -> list[Held]:
    """Return the limits under which messages wait."""
    names = connection.call(("HGETALL", keys.limit_names), deadline)
    found = list(names.items())[:most]
    asked = [("LLEN", keys.limits + b"waiting:" + name) for name, _ in found]
    asked += [("HKEYS", keys.limits + b"holders:" + name) for name, _ in found]
    told = connection.pipeline(asked, deadline) if asked else []
    return [
        Held(
            name=name.decode("utf-8", "replace"),
            most=int(places),
            running=tuple(task.decode("utf-8", "replace") for task in told[len(found) + number]),
            waiting=int(told[number]),
        )
        for number, (name, places) in enumerate(found)
    ]
