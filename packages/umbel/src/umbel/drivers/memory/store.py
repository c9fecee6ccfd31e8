"""What a memory driver holds: queues, claims, owners, results, under one lock.

Called by ``broker.py`` and ``result_backend.py``. Every public method is one atomic step and may be
called by any thread. Nothing here waits for messages; whoever waits leaves a SelfPipe to be rung.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from umbel.clock import Clock
from umbel.drivers.memory.joins import MemoryJoins
from umbel.drivers.memory.results import MemoryResults
from umbel.drivers.memory.shelf import Held, Shelf
from umbel.drivers.selfpipe import SelfPipe
from umbel.model.delivery import Ack, Delivery, Quarantine, Receipt, Requeue, Settlement, Verdict
from umbel.model.join import JoinParts, JoinStep
from umbel.model.presence import Presence
from umbel.model.queues import FollowUp, Outgoing, QueueStats
from umbel.model.revocation import Revocation
from umbel.wire.envelope import dump_compact, load


class Owner(msgspec.Struct):
    """One consumer's lease, and what it claimed."""

    presence: Presence
    until: float
    """A reading of the monotonic clock: an adjusted calendar ends no lease."""
    claims: dict[Receipt, Held]


class MemoryStore:
    """Messages and results of one memory driver. Thread-safe; every method is one atomic step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lock = threading.RLock()
        self._places = itertools.count()
        self._shelves: dict[str, Shelf] = {}
        self._owners: dict[str, Owner] = {}
        self._revoked: dict[str, tuple[int, float, Revocation]] = {}
        self._revoked_serial = 0
        self._consumers: set[SelfPipe] = set()
        self.results = MemoryResults(self.now, self.lock)
        self._joins = MemoryJoins(self.now)

    def now(self) -> float:
        """Return the store's time in Unix seconds."""
        return self._clock.now().timestamp()

    # --- messages ---------------------------------------------------------------------------------

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Hold these and wake who waits."""
        encoded = [dump_compact(each.message) for each in outgoing]
        with self.lock:
            for each, raw in zip(outgoing, encoded, strict=True):
                self._put(each, raw)
            self.ring()

    def _put(self, outgoing: Outgoing, raw: bytes) -> None:
        priority = outgoing.message.properties.get("priority")
        held = Held(
            queue=outgoing.queue.name,
            raw=raw,
            priority=priority if isinstance(priority, int) else 0,
        )
        self.shelf(held.queue).add(held, due=_unix(outgoing.due_at), now=self.now())

    def _put_follow_up(self, due: FollowUp) -> None:
        priority = load(due.raw).properties.get("priority")
        held = Held(
            queue=due.queue.name,
            raw=due.raw,
            priority=priority if isinstance(priority, int) else 0,
        )
        self.shelf(held.queue).add(held, due=_unix(due.due_at), now=self.now())

    def claim(
        self, presence: Presence, lease: float, queues: Sequence[str], limit: int
    ) -> list[Delivery]:
        """Renew the lease, move what is due, rescue what the dead hold, claim up to ``limit``.

        Queues take turns in the given order within one priority.
        """
        with self.lock:
            now = self.now()
            mine = self._renew(presence, lease)
            self._rescue()
            for name in queues:
                self.shelf(name).promote(now)
            claimed: list[Delivery] = []
            while len(claimed) < limit:
                held = self._next(queues, len(claimed))
                if held is None:
                    break
                held.count += 1
                receipt = Receipt(secrets.token_hex(8))
                mine.claims[receipt] = held
                claimed.append(
                    Delivery(
                        receipt=receipt,
                        queue=held.queue,
                        raw=held.raw,
                        count=held.count,
                        redelivered=held.count > 1,
                    )
                )
            return claimed

    def _next(self, queues: Sequence[str], turn: int) -> Held | None:
        """Take the most urgent message; among equals the queue whose turn it is."""
        best: Shelf | None = None
        for offset in range(len(queues)):
            shelf = self.shelf(queues[(turn + offset) % len(queues)])
            if shelf.ready and (best is None or shelf.urgency() < best.urgency()):
                best = shelf
        return None if best is None else best.take()

    def settle(
        self, owner: str, settlements: Sequence[Settlement], *, with_records: bool
    ) -> list[Receipt]:
        """Perform these as far as the claims are this owner's; return the others' receipts.

        ``with_records`` is false where records and joins belong to another store.
        """
        encoded = [[dump_compact(out.message) for out in s.effects.outgoing] for s in settlements]
        with self.lock:
            lost: list[Receipt] = []
            mine = self._owners.get(owner)
            for settlement, raws in zip(settlements, encoded, strict=True):
                if mine is None or settlement.receipt not in mine.claims:
                    lost.append(settlement.receipt)
                    continue
                if with_records:
                    self.results.store(settlement.effects.records)
                    if settlement.effects.joins:
                        for due in self._joins.perform(settlement.effects.joins, again=False):
                            self._put_follow_up(due)
                for outgoing, raw in zip(settlement.effects.outgoing, raws, strict=True):
                    self._put(outgoing, raw)
                if settlement.verdict is not None:
                    held = mine.claims.pop(settlement.receipt)
                    self._judge(held, settlement.verdict, mine.presence.name)
            self.ring()
            return lost

    def _judge(self, held: Held, verdict: Verdict, worker: str) -> None:
        match verdict:
            case Ack():
                return
            case Requeue(due_at=due_at, front=front, counted=counted, why=why):
                if not counted:
                    held.count -= 1
                held.why = why
                shelf = self.shelf(held.queue)
                if front and due_at is None:
                    shelf.put_back(held)
                else:
                    shelf.add(held, due=_unix(due_at), now=self.now())
            case Quarantine():
                self.shelf(held.queue).set_aside(held, verdict, at=self.now(), worker=worker)

    # --- joins ------------------------------------------------------------------------------------

    def join(self, steps: Sequence[JoinStep]) -> list[FollowUp]:
        """Perform these steps; return what is due, for the caller to send."""
        with self.lock:
            return self._joins.perform(steps, again=True)

    def fetch_join(self, join_id: str) -> JoinParts | None:
        """Return what is known of a join."""
        with self.lock:
            return self._joins.fetch(join_id)

    def holds(self, owner: str, receipts: Iterable[Receipt]) -> set[Receipt]:
        """Return which of these claims are this owner's now."""
        with self.lock:
            mine = self._owners.get(owner)
            return set() if mine is None else mine.claims.keys() & set(receipts)

    def _rescue(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, owner in self._owners.items() if owner.until <= now]:
            owner = self._owners.pop(name)
            self._release(owner, counted=True)

    def _release(self, owner: Owner, *, counted: bool) -> None:
        for held in owner.claims.values():
            if not counted:
                held.count -= 1
            self.shelf(held.queue).put_back(held)
        if owner.claims:
            self.ring()

    def stats(self, names: Sequence[str]) -> list[QueueStats]:
        """Count what lies in each queue."""
        with self.lock:
            now = self.now()
            found: list[QueueStats] = []
            for name in names:
                shelf = self.shelf(name)
                due = sum(moment <= now for moment, _, _ in shelf.delayed)
                claimed = sum(
                    held.queue == name
                    for owner in self._owners.values()
                    for held in owner.claims.values()
                )
                found.append(
                    QueueStats(
                        name=name,
                        ready=len(shelf.ready) + due,
                        claimed=claimed,
                        delayed=len(shelf.delayed) - due,
                        quarantined=len(shelf.aside),
                        quarantined_since=_oldest(shelf),
                    )
                )
            return found

    def purge(self, name: str) -> int:
        """Drop what is ready or rests in the queue."""
        with self.lock:
            shelf = self.shelf(name)
            dropped = len(shelf.ready) + len(shelf.delayed)
            shelf.ready.clear()
            shelf.delayed.clear()
            return dropped

    def shelf(self, name: str) -> Shelf:
        """Return what one queue holds, for a caller that has the lock."""
        shelf = self._shelves.get(name)
        if shelf is None:
            shelf = self._shelves[name] = Shelf(self._places)
        return shelf

    def until_next_event(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until something becomes claimable by itself, None if nothing will."""
        with self.lock:
            now, monotonic = self.now(), self._clock.monotonic()
            resting = [shelf.delayed for shelf in map(self.shelf, queues) if shelf.delayed]
            waits = [delayed[0][0] - now for delayed in resting]
            waits += [o.until - monotonic for o in self._owners.values() if o.claims]
            return min(waits, default=None)

    # --- owners -----------------------------------------------------------------------------------

    def register(self, presence: Presence, lease: float, pipe: SelfPipe) -> None:
        """Begin or go on with an owner's lease; ring ``pipe`` whenever something changes."""
        with self.lock:
            self._renew(presence, lease)
            self._consumers.add(pipe)

    def _renew(self, presence: Presence, lease: float) -> Owner:
        until = self._clock.monotonic() + lease
        mine = self._owners.get(presence.owner)
        if mine is None:
            mine = self._owners[presence.owner] = Owner(presence, until, {})
        mine.until = until
        return mine

    def extend(
        self, presence: Presence, lease: float, receipts: Sequence[Receipt]
    ) -> list[Receipt]:
        """Renew the lease; return which receipts are no longer this owner's."""
        with self.lock:
            mine = self._renew(presence, lease)
            mine.presence = msgspec.structs.replace(presence, seen=self.now())
            lost = [receipt for receipt in receipts if receipt not in mine.claims]
            self._release_all_but(mine, set(receipts))
            return lost

    def _release_all_but(self, owner: Owner, known: set[Receipt]) -> None:
        """Return claims whose owner does not know of them: it never heard that it had them."""
        forgotten = [receipt for receipt in owner.claims if receipt not in known]
        for receipt in forgotten:
            held = owner.claims.pop(receipt)
            held.count -= 1
            self.shelf(held.queue).put_back(held)
        if forgotten:
            self.ring()

    def leave(self, owner: str, pipe: SelfPipe) -> None:
        """Return every claim of this owner, uncounted, and end its lease."""
        with self.lock:
            self._consumers.discard(pipe)
            gone = self._owners.pop(owner, None)
            if gone is not None:
                self._release(gone, counted=False)

    def presences(self) -> list[Presence]:
        """Return the owners whose lease is alive."""
        with self.lock:
            now = self._clock.monotonic()
            return [owner.presence for owner in self._owners.values() if owner.until > now]

    # --- revocations ------------------------------------------------------------------------------

    def revoke(self, revocations: Sequence[Revocation], keep: float) -> None:
        """Remember these and wake the consumers."""
        with self.lock:
            now = self.now()
            self._revoked = {k: held for k, held in self._revoked.items() if held[1] > now}
            for revocation in revocations:
                self._revoked_serial += 1
                self._revoked[revocation.task_id] = (self._revoked_serial, now + keep, revocation)
            self.ring()

    def revoked_since(self, serial: int) -> tuple[int, list[Revocation]]:
        """Return the newest serial, and what was revoked after ``serial`` and is still kept."""
        with self.lock:
            if serial == self._revoked_serial:
                return serial, []
            now = self.now()
            return self._revoked_serial, [
                revocation
                for number, until, revocation in self._revoked.values()
                if number > serial and until > now
            ]

    def revoked_serial(self) -> int:
        """Return the number of the latest revocation."""
        return self._revoked_serial

    def ring(self) -> None:
        """Wake every waiting consumer."""
        for pipe in self._consumers:
            pipe.ring()


def _oldest(shelf: Shelf) -> datetime | None:
    return next((datetime.fromtimestamp(kept.at, UTC) for kept in shelf.aside.values()), None)


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
