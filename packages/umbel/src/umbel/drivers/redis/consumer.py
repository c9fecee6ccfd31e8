"""Claiming messages and settling the claims: one script, one round trip.

``broker`` opens consumers. How claims are kept is told in docs/design/0003; what a call sends is
put together in ``packing``. One connection does everything: the server tells on it, unasked, when
a key changes that an idle consumer has looked at (``CLIENT TRACKING``).

A connection that broke is a new generation: this consumer goes on under a new owner name, and takes
over what it held under the former one. So a command that is still on its way on the old connection
can neither settle nor claim anything that we would not know of.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from umbel.drivers.doorbell import Doorbell
from umbel.drivers.elsewhere import stored_elsewhere
from umbel.drivers.redis.address import Options
from umbel.drivers.redis.connection import BROKER, Argument, Command, Connection, Refusal, pack
from umbel.drivers.redis.keys import Keys
from umbel.drivers.redis.packing import Claim, Ledger, Reply, SettlementPacker
from umbel.drivers.redis.restoring import Restorer
from umbel.drivers.redis.scripts import ARM, EXCHANGE, EXTEND, RELEASE, REVOKED
from umbel.errors import OperationalError
from umbel.model.delivery import Delivery, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Queue
from umbel.model.revocation import Revocation
from umbel.ports import Consumer, Exchange, ResultBackend

logger = logging.getLogger(__name__)

LONGEST_REST = 5.0
"""Seconds after which an idle consumer looks anyway: for claims whose owner died meanwhile, and in
case the server forgot to tell."""
POLLING = 0.05
"""Seconds between looks where the server does not tell of changes (docs/design/0003)."""
GOODBYE = 2.0
"""Seconds that ``close`` may take when the server is away."""

CACHING = pack(("CLIENT", "CACHING", "YES"))
"""What the next command reads, we are told of when it changes."""

_read_revocation = msgspec.json.Decoder(Revocation).decode
_write_presence = msgspec.json.Encoder().encode


class RedisConsumer(Consumer):
    """Belongs to one thread, except ``wake``."""

    def __init__(
        self,
        options: Options,
        keys: Keys,
        queues: Sequence[Queue],
        presence: Presence,
        lease: float,
        packer: SettlementPacker,
        results: ResultBackend | None,
    ) -> None:
        """``results``: where records go first, when a script here cannot write them."""
        self._address = options.address
        self._keys = keys
        self._queues = [keys.queue(name) for name in dict.fromkeys(each.name for each in queues)]
        self._presence = presence
        self._lease = lease
        self._packer = packer
        self._results = results
        self._polling = options.polling_interval or POLLING
        self._connection = Connection(options.address, BROKER)
        self._restorer = Restorer(options, keys, [each.name for each in queues])
        self._bell = Doorbell()
        self._ledger = Ledger()
        # Two consumers of one worker must not share a name; "~" begins the names of the dead.
        self._base_name = f"{presence.owner}:{os.urandom(4).hex()}".lstrip("~")
        self._name = ""
        self._exchange_keys: list[bytes] = []
        self._former_names: list[str] = []
        self._generation = -1
        self._told_by_server = False
        self._armed = False
        self._look_at = 0.0
        self._maintain_at = 0.0
        self._turn = 0
        self._version: bytes | None = None
        self._told_version: bytes | None = None
        self._closed = False
        try:
            self._session()
        except BaseException:
            self._connection.close()
            self._bell.close()
            raise

    # --- claiming -----------------------------------------------------------------------------

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deadline = time.monotonic() + timeout
        while not self._bell.answer():
            if limit > 0:
                self._hear()
                if not self._armed or time.monotonic() >= self._look_at:
                    version = self._version
                    deliveries = self._exchange([], limit, wait_next=True).deliveries
                    if deliveries or self._is_news(version):
                        return deliveries
                    self._restorer.run_if_due(self._connection)
                if time.monotonic() >= deadline:
                    return ()
                version = self._version
                if not self._armed and not self._arm():
                    if self._is_news(version):
                        return ()
                    continue
            if not self._rest(limit, deadline):
                return ()
        return ()

    def _rest(self, limit: int, deadline: float) -> bool:
        """Wait for something to happen; False when the deadline came."""
        if limit > 0:
            # What the server told may have come in one piece with the reply that armed us: then it
            # is read already, and the socket would stay silent.
            self._hear()
            if not self._armed:
                return True
        until = min(deadline, self._look_at) if limit > 0 else deadline
        remaining = until - time.monotonic()
        if remaining > 0 and self._connection.connected:
            readable = self._bell.wait(self._connection, remaining)
            if readable and limit <= 0:
                self._hear()
        elif remaining > 0:
            self._session()
        return time.monotonic() < deadline

    def _hear(self) -> None:
        """Take in what the server told unasked: something we looked at has changed."""
        connection = self._connection
        if not connection.connected:
            return
        connection.take_pushes()
        if connection.pushes:
            connection.pushes.clear()
            self._armed = False

    def _is_news(self, known: bytes | None) -> bool:
        return known is not None and self._version != known

    def _arm(self) -> bool:
        """Ask to be told of changes. False when there is something to do already."""
        now = time.monotonic()
        if not self._told_by_server:
            self._armed = True
            self._look_at = min(self._look_at, now + self._polling)
            return True
        deadline = self._session()
        keys = [self._keys.revoked_version]
        keys += [queue.alarm for queue in self._queues]
        keys += [key for queue in self._queues for key in queue.lists]
        data = CACHING + ARM.packed(keys, [len(self._queues)])
        allowed, reply = self._connection.exchange(data, 2, deadline)
        if isinstance(allowed, Refusal) or isinstance(reply, Refusal):
            return self._arm_again(allowed, reply, keys, deadline)
        return self._armed_by(reply)

    def _arm_again(
        self, allowed: object, reply: object, keys: list[bytes], deadline: float
    ) -> bool:
        if isinstance(reply, Refusal):
            # The source is remembered by the server now; the next attempt is the real one.
            ARM.answer(self._connection, reply, keys, [len(self._queues)], deadline)
        if isinstance(allowed, Refusal):
            self._told_by_server = False
        return False

    def _armed_by(self, reply: list[int | bytes]) -> bool:
        version, ready, next_due = reply
        changed = self._version is not None and version != self._version
        assert isinstance(version, bytes)
        assert isinstance(next_due, int)
        self._version = version
        if ready or changed or next_due == 0:
            return False
        self._armed = True
        self._set_look(next_due)
        return True

    def _set_look(self, next_due: int) -> None:
        self._look_at = self._maintain_at
        if not self._told_by_server:
            self._look_at = min(self._look_at, time.monotonic() + self._polling)
        if next_due >= 0:
            # A millisecond later, for the server counts in whole ones.
            self._look_at = min(self._look_at, time.monotonic() + next_due / 1000 + 0.001)

    # --- settling -----------------------------------------------------------------------------

    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        if self._results is not None:
            settlements = self._store_elsewhere(settlements, self._results)
        return self._exchange(settlements, limit)

    def _store_elsewhere(
        self, settlements: Sequence[Settlement], results: ResultBackend
    ) -> Sequence[Settlement]:
        """Records first, so that a crash repeats work and never forgets it.

        Claims that are not ours any more are found out before. Race: one may be lost between the
        look and the record, a few hundred microseconds in which a lease must end. The record then
        says how our own run ended, and the run of the new holder says it again.
        """
        told = [each for each in settlements if each.effects.records or each.effects.joins]
        if not told:
            return settlements
        deadline = self._session()
        ours = [each for each in told if self._ledger.holds(each.receipt)]
        claims = [queue.claims + self._name.encode() for queue in self._queues]
        looks: list[Command] = [
            ("HEXISTS", claims[self._ledger.queue_of(each.receipt) or 0], each.receipt)
            for each in ours
        ]
        there = self._connection.pipeline(looks, deadline) if looks else []
        held: set[Receipt] = set()
        for each, found in zip(ours, there, strict=True):
            if found:
                held.add(each.receipt)
            else:
                self._ledger.forget(each.receipt)
        return stored_elsewhere(results, settlements, held)

    def _exchange(
        self, settlements: Sequence[Settlement], limit: int, *, wait_next: bool = False
    ) -> Exchange:
        deadline = self._session()
        now = time.monotonic()
        maintain = now >= self._maintain_at
        ledger = self._ledger
        number = ledger.reserve(limit)
        turn = self._turn
        if limit > 0:  # turns are of claims: else a rhythm of calls could starve a queue
            self._turn = (turn + 1) % len(self._queues)
        # Looking for dead owners reads what every renewal changes: not to be told of that.
        arm = wait_next and self._told_by_server and not maintain
        claim = Claim(self._name, self._lease, limit, number, turn, maintain, arm)
        batch = self._packer.pack(settlements, ledger, claim)
        try:
            reply = self._run_exchange(batch.arguments, deadline, arm=arm)
        except OperationalError:
            ledger.doubt(batch)
            raise
        if batch.sends:
            self._armed = False
        return self._taken_in(Reply(*reply), batch.answered(ledger, reply[4]), number, maintain)

    def _run_exchange(self, arguments: list[Argument], deadline: float, *, arm: bool) -> list[Any]:
        connection, keys = self._connection, self._exchange_keys
        if not arm:
            return list(EXCHANGE.run(connection, keys, arguments, deadline))
        # One round trip to claim or, if there is nothing, to be told of the next message: with
        # many idle workers, half of what a single message costs the server.
        data = CACHING + EXCHANGE.packed(keys, arguments)
        allowed, reply = connection.exchange(data, 2, deadline)
        self._armed = not isinstance(allowed, Refusal) and not isinstance(reply, Refusal)
        if isinstance(reply, Refusal):
            reply = EXCHANGE.answer(connection, reply, keys, arguments, deadline)
        if reply[6]:
            self._armed = False
        return list(reply)

    def _taken_in(
        self, reply: Reply, lost: tuple[Receipt, ...], number: int, maintain: bool
    ) -> Exchange:
        if maintain:
            now = time.monotonic()
            self._maintain_at = now + min(LONGEST_REST, self._lease / 3)
            if reply.next_end >= 0:
                self._maintain_at = min(self._maintain_at, now + reply.next_end / 1000 + 0.001)
        self._version = reply.version
        self._set_look(reply.next_due)
        for index in reply.registered:
            # Our lease had ended and been noticed: what we held there is somebody else's.
            self._ledger.lose(index)
        deliveries = self._ledger.claimed(self._queues, number, reply)
        return Exchange(lost, deliveries)

    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        self._presence = presence
        deadline = self._session(renew=False)
        return self._extend(receipts, deadline)

    def _extend(self, receipts: Sequence[str], deadline: float) -> list[Receipt]:
        ledger = self._ledger
        by_queue = ledger.by_queue(receipts, len(self._queues))
        seen = msgspec.structs.replace(self._presence, seen=time.time())
        lease = max(1, round(self._lease * 1000))
        arguments: list[str | bytes | int | float] = [self._name, lease, len(self._keys.steps)]
        arguments += [self._presence.owner, _write_presence(seen)]
        arguments += [len(self._former_names), *self._former_names]
        for fields in by_queue:
            arguments += [len(fields), *fields]
        keys = [
            self._keys.revoked_version,
            self._keys.worker_leases,
            self._keys.worker(self._presence.owner),
        ]
        reply = EXTEND.run(self._connection, keys + self._claim_keys(), arguments, deadline)
        self._version = reply[0]
        self._former_names.clear()
        missing: set[str] = set()
        for index in range(len(self._queues)):
            alive, absent = reply[1 + 2 * index : 3 + 2 * index]
            missing.update(field.decode() for field in absent)
            ledger.keep(index, by_queue[index], missing, alive=bool(alive))
        return [Receipt(each) for each in receipts if not ledger.holds(each)]

    def _claim_keys(self) -> list[bytes]:
        name = self._name.encode()
        keys: list[bytes] = []
        for queue in self._queues:
            keys += [queue.owners, queue.claims + name, *queue.lists]
        return keys

    # --- a connection and its generation ------------------------------------------------------

    def _session(self, *, renew: bool = True) -> float:
        """Have a connection on which this consumer is known. Raises BrokerUnavailable.

        Returns until when the reply to a command sent now is waited for: no longer, or a lease ends
        before a silent connection is given up.

        ``renew`` false: the caller extends the lease itself, in a moment.
        """
        connection, address = self._connection, self._address
        connection.ensure(time.monotonic() + address.connect_timeout + address.socket_timeout)
        deadline = time.monotonic() + address.socket_timeout
        if connection.generation == self._generation:
            return deadline
        self._armed = False
        self._maintain_at = 0.0
        name = f"{self._base_name}.{connection.generation}"
        if self._name and self._name != name:
            self._former_names.append(self._name)
        self._name = name
        self._exchange_keys = self._packer.keys(self._queues, name)
        (reply,) = connection.exchange(pack(("CLIENT", "TRACKING", "ON", "OPTIN")), 1, deadline)
        # A proxy or an access list may refuse: then we look from time to time.
        self._told_by_server = not isinstance(reply, Refusal)
        self._packer.check(connection, deadline)
        if renew or self._former_names:
            self._extend(self._ledger.all(), deadline)
        self._generation = connection.generation
        return deadline

    # --- the rest -----------------------------------------------------------------------------

    def revocations(self) -> Sequence[Revocation]:
        if self._told_version is not None and self._told_version == self._version:
            return ()
        deadline = self._session()
        known = self._told_version
        # A version lower than the one we know: the server lost its memory, so ask for everything.
        fresh = known is None or (self._version is not None and int(self._version) < int(known))
        keys = self._keys
        reply = REVOKED.run(
            self._connection,
            [keys.revoked_order, keys.revoked_expiry, keys.revoked_version],
            ["-inf" if fresh or known is None else known],
            deadline,
        )
        self._told_version = self._version = reply[0]
        return [_read_revocation(document) for document in reply[1:]]

    def reconnect(self) -> None:
        self._connection.drop()

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._release()
        except OperationalError as error:
            # Nothing is lost: the lease ends, and any consumer of the queues takes them back.
            logger.warning("claims go back when their lease ends: %s", error)
        finally:
            self._connection.close()
            self._bell.close()

    def _release(self) -> None:
        keys = [self._keys.worker_leases, self._keys.worker(self._presence.owner)]
        arguments: list[str | bytes | int | float] = [
            len(self._keys.steps),
            self._presence.owner,
            self._name,
            *self._former_names,
        ]
        keys += self._claim_keys()
        with contextlib.suppress(OperationalError):
            RELEASE.run(self._connection, keys, arguments, time.monotonic() + GOODBYE)
            return
        # The connection had broken without our noticing; once more, on a new one.
        RELEASE.run(self._connection, keys, arguments, time.monotonic() + GOODBYE)
