"""Claims from the file, settles, waits. Called through ``umbel.ports`` only."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import msgspec

from umbel.clock import Clock
from umbel.drivers.elsewhere import outgoing_of, stored_elsewhere
from umbel.drivers.sqlite import bells, joins, messages, records
from umbel.drivers.sqlite.bells import Bell, Interest
from umbel.drivers.sqlite.boot import BOOT
from umbel.drivers.sqlite.connection import Connection, Database
from umbel.drivers.sqlite.location import Location
from umbel.drivers.sqlite.result_backend import SqliteResultBackend
from umbel.drivers.sqlite.statements import SQL
from umbel.errors import BrokerUnavailable
from umbel.model.delivery import Delivery, Receipt, Requeue, Settlement
from umbel.model.presence import Presence
from umbel.model.revocation import Revocation
from umbel.ports import Consumer, Exchange, ResultBackend

SWEEP_EVERY = 5.0
"""Seconds between sweeps of what has expired, while there is no more than one sweep drops."""


class SqliteConsumer(Consumer):
    """One owner's claims in one database file."""

    def __init__(
        self,
        location: Location,
        clock: Clock,
        queues: Sequence[str],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None,
    ) -> None:
        self._clock = clock
        self._queues = list(queues)
        self._turn = 0
        self._presence = presence
        self._lease = lease
        # Records for this very file are written in the transaction that settles.
        self._same_store = (
            isinstance(results, SqliteResultBackend) and results.location.path == location.path
        )
        self._results = None if self._same_store else results
        self._told_revocation = 0
        self._seen_revocation = 0
        self._woken = False
        self._sweep_at = 0.0
        self._pid = os.getpid()
        self._connection = Connection(location, BrokerUnavailable)
        with self._connection.writing() as database:
            self._owner = self._register(database)
        self._bell = Bell(location.path, Interest.MESSAGES)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    # --- claiming ---------------------------------------------------------------------------------

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deadline = time.monotonic() + timeout
        while True:
            woken, self._woken = self._woken, False
            # Looking first costs no lock, and most wake-ups of several waiting processes are vain.
            ready, patience = self._look(limit)
            claimed = self.exchange((), limit).deliveries if ready else ()
            remaining = deadline - time.monotonic()
            if claimed or woken or remaining <= 0 or self._news():
                return claimed
            if not ready:
                self._bell.wait(min(remaining, patience))

    def _look(self, limit: int) -> tuple[bool, float]:
        """Return whether there may be something to claim, and how long to wait if there is not."""
        now = self._now()
        patience = self._bell.patience
        with self._connection.reading() as database:
            (serial,) = database.execute(SQL["last_revocation"]).fetchone()
            self._see(serial)
            if limit < 1:
                return False, patience
            (end,) = database.execute(SQL["next_lease_end"], (BOOT, self._owner)).fetchone()
            waits = [] if end is None else [end - self._clock.monotonic()]
            for queue in self._queues:
                if database.execute(SQL["any_ready"], (queue,)).fetchone() is not None:
                    return True, 0.0
                (due,) = database.execute(SQL["next_due"], (queue,)).fetchone()
                waits += [] if due is None else [due - now]
        soonest = min(waits, default=patience)
        return soonest <= 0, min(patience, max(0.0005, soonest))

    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        if self._results is not None:
            settlements = self._store_elsewhere(self._results, settlements)
        # Encoded before the lock is taken: others can write meanwhile.
        rows = [messages.encode(each.effects.outgoing) for each in settlements]
        now = self._now()
        with self._connection.writing() as database:
            accepted = messages.settle(database, self._owner, settlements, now, self._presence.name)
            if len(accepted) < len(settlements):
                taken = {id(each) for each in accepted}
                rows = [
                    row for row, each in zip(rows, settlements, strict=True) if id(each) in taken
                ]
            if self._same_store and any(each.effects.joins for each in accepted):
                rows = [*rows, self._join(database, accepted, now)]
            messages.add(database, [row for some in rows for row in some], now)
            stored = [record for each in accepted for record in each.effects.records]
            if stored and self._same_store:
                records.store(database, stored, now)
            claimed, returned = self._claim(database, limit, now) if limit > 0 else ([], False)
            self._sweep(database, now)
            self._see(database.execute(SQL["last_revocation"]).fetchone()[0])
        returned = returned or any(isinstance(each.verdict, Requeue) for each in accepted)
        if returned or any(rows):
            bells.ring(self._connection.location.path, Interest.MESSAGES, but=self._bell.name)
        if stored and self._same_store:
            bells.ring(self._connection.location.path, Interest.RESULTS)
        if len(accepted) == len(settlements):
            return Exchange((), tuple(claimed))
        taken = {id(each) for each in accepted}
        lost = tuple(each.receipt for each in settlements if id(each) not in taken)
        return Exchange(lost, tuple(claimed))

    def _claim(self, database: Database, limit: int, now: float) -> tuple[list[Delivery], bool]:
        """Renew, move what is due, rescue, claim. True when there may be something for others."""
        monotonic = self._clock.monotonic()
        values = (monotonic + self._lease, self._owner)
        if database.execute(SQL["renew_owner"], values).rowcount == 0:
            # Rescued while we were asleep: what we held is gone, what we claim now is ours anew.
            self._owner = self._register(database)
        freed = messages.rescue(database, self._owner, monotonic)
        freed = messages.move_due(database, self._queues, now) or freed
        turn = self._turn % max(1, len(self._queues))
        self._turn += 1
        queues = self._queues[turn:] + self._queues[:turn]
        return messages.claim(database, self._owner, queues, limit), freed

    def _join(
        self, database: Database, accepted: Sequence[Settlement], now: float
    ) -> list[messages.Row]:
        """Perform the steps of these settlements' joins; return the messages that follow."""
        steps = [step for each in accepted for step in each.effects.joins]
        due = joins.perform(database, steps, now, again=False)
        return messages.encode(map(outgoing_of, due))

    def _store_elsewhere(
        self, results: ResultBackend, settlements: Sequence[Settlement]
    ) -> Sequence[Settlement]:
        # Race: a claim may be rescued between this look and the transaction that settles. Then the
        # record is stored although the verdict is refused: the task runs again, and its record
        # comes after this one; its slot of a join stays as it is filled.
        with self._connection.reading() as database:
            held = messages.held(database, self._owner, [each.receipt for each in settlements])
        return stored_elsewhere(results, settlements, held)

    def _sweep(self, database: Database, now: float) -> None:
        if time.monotonic() >= self._sweep_at:
            more = records.sweep(database, now)
            self._sweep_at = 0.0 if more else time.monotonic() + SWEEP_EVERY

    # --- lease and presence -----------------------------------------------------------------------

    def _register(self, database: Database) -> int:
        presence = msgspec.structs.replace(self._presence, seen=self._now())
        until = self._clock.monotonic() + self._lease
        values = (presence.owner, BOOT, until, msgspec.msgpack.encode(presence))
        ((owner,),) = database.execute(SQL["register_owner"], values).fetchall()
        return int(owner)

    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        self._presence = presence
        with self._connection.writing() as database:
            self._owner = self._register(database)
            held = messages.held(database, self._owner, receipts)
            freed = messages.release_all_but(database, self._owner, receipts)
            self._see(database.execute(SQL["last_revocation"]).fetchone()[0])
        if freed:
            bells.ring(self._connection.location.path, Interest.MESSAGES, but=self._bell.name)
        return [receipt for receipt in receipts if receipt not in held]

    # --- revocations ------------------------------------------------------------------------------

    def _see(self, serial: int | None) -> None:
        self._seen_revocation = max(self._seen_revocation, serial or 0)

    def _news(self) -> bool:
        return self._seen_revocation > self._told_revocation

    def revocations(self) -> Sequence[Revocation]:
        if not self._news():
            return ()
        with self._connection.reading() as database:
            rows = database.execute(
                SQL["revocations_since"], (self._told_revocation, self._now())
            ).fetchall()
        newest = max((row[0] for row in rows), default=0)
        self._told_revocation = max(self._seen_revocation, newest)
        self._seen_revocation = self._told_revocation
        return [
            Revocation(task_id=task_id, terminate=bool(terminate), signal=signal)
            for _, task_id, terminate, signal in rows
        ]

    # --- waking and leaving -----------------------------------------------------------------------

    def reconnect(self) -> None:
        self._connection.close()
        old, self._bell = self._bell, Bell(self._connection.location.path, Interest.MESSAGES)
        old.close()

    def wake(self) -> None:
        self._woken = True
        self._bell.wake()

    def close(self) -> None:
        if self._owner < 0:
            return
        owner, self._owner = self._owner, -1
        try:
            if self._pid != os.getpid():
                return  # the claims are the parent's, and it is still at work on them
            with self._connection.writing() as database:
                freed = messages.release(database, owner, counted=False)
            if freed:
                bells.ring(self._connection.location.path, Interest.MESSAGES, but=self._bell.name)
        finally:
            self._bell.close()
            self._connection.close()
