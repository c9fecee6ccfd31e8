"""Claiming messages and settling the claims: one round trip, one transaction.

``broker`` opens consumers. One session does everything: NOTIFY is heard on it too.

Who waits. A consumer that finds nothing takes the locks of its queues' bells and looks once more;
from then on whoever sends rings. When it has found work twice in a row it lets the locks go, and
nobody spends a notification on it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence

import msgspec

from umbel.drivers.doorbell import Doorbell
from umbel.drivers.elsewhere import stored_elsewhere
from umbel.drivers.postgres import packing
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.bells import Bells
from umbel.drivers.postgres.connection import BROKER, Connection, Rows, Step
from umbel.drivers.postgres.settling import Settling, rings_of
from umbel.errors import OperationalError
from umbel.model.delivery import Delivery, Receipt, Settlement
from umbel.model.presence import Presence
from umbel.model.revocation import Revocation
from umbel.ports import Consumer, Exchange, ResultBackend

logger = logging.getLogger(__name__)

LONGEST_REST = 30.0
"""Seconds after which an idle consumer looks anyway: covers a process that died between the commit
of a message and the ring."""
MAINTAIN_EVERY = 0.25
"""Seconds between looks for what is due and for dead owners, while there is work."""
SWEEP_EVERY = 5.0
"""Seconds between sweeps of what has expired, while there is no more than one sweep drops."""
SWEEP_LIMIT = 1000
GOODBYE = 2.0
"""Seconds that ``close`` may take."""

_write_presence = msgspec.msgpack.Encoder().encode


class PostgresConsumer(Consumer):
    """Belongs to one thread, except ``wake``."""

    def __init__(
        self,
        address: Address,
        bells: Bells,
        queues: Sequence[str],
        *,
        presence: Presence,
        lease: float,
        results: ResultBackend | None,
        results_here: bool,
    ) -> None:
        """``results``: where records go first, when our transaction cannot hold them."""
        self._bells = bells
        self._queues = list(queues)
        self._own_bells = [bells.queue(name) for name in queues]
        self._presence = presence
        self._lease = lease
        self._results = results
        self._results_here = results_here
        self._connection = Connection(address, BROKER)
        self._doorbell = Doorbell()
        self._generation = -1
        self._owner = -1
        self._pid = os.getpid()
        self._renew_at = 0.0
        self._maintain_at = 0.0
        self._sweep_at = 0.0
        self._look_at = 0.0
        self._turn = 0
        self._waiting = False
        """Whether the locks are held that make others ring."""
        self._busy = 0
        """How many claims in a row found something."""
        self._rung = False
        self._rescue_at = 0.0
        self._unread = True
        """Whether there may be revocations that were never asked for."""
        self._news = False
        """The same, and worth ending a wait."""
        self._serial = 0
        try:
            self._session()
        except BaseException:
            self._connection.close()
            self._doorbell.close()
            raise

    # --- claiming -----------------------------------------------------------------------------

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deadline = time.monotonic() + timeout
        while True:
            woken = self._doorbell.answer()
            self._session()
            self._hear()
            if limit > 0 and self._should_look():
                deliveries = self._exchange((), limit, wait=True).deliveries
                if deliveries:
                    return deliveries
            now = time.monotonic()
            if woken or self._news or now >= deadline:
                return ()
            if self._rung and limit > 0:
                continue
            until = min(deadline, self._look_at) if limit > 0 else deadline
            self._doorbell.wait(self._connection, max(0.0, until - now))
            self._connection.listen_now()

    def _should_look(self) -> bool:
        return self._rung or not self._waiting or time.monotonic() >= self._look_at

    def _hear(self) -> None:
        """Take note of what was notified and has been read from the session."""
        heard = self._connection.heard
        while heard:
            channel, _ = heard.popleft()
            if channel == self._bells.control.channel:
                self._news = True
            else:
                self._rung = True

    def _before_claiming(self, *, wait: bool, maintain: bool) -> list[Step]:
        step = self._connection.step
        steps: list[Step] = []
        if wait and not self._waiting:
            # First the locks, then the look: whoever commits a message after that look sees them.
            steps.append(step("wait_for", keys=[bell.key for bell in self._own_bells]))
        elif self._waiting and not wait and self._busy >= 2:
            steps.append(step("wait_no_more"))
            self._waiting = False
        if maintain:
            steps.append(step("move_due", queues=self._queues))
        return steps

    def _claim(self, limit: int) -> Step:
        step, owner = self._connection.step, self._owner
        if len(self._queues) == 1:
            return step("claim_one_queue", owner=owner, queue=self._queues[0], limit=limit)
        turn, self._turn = self._turn, (self._turn + 1) % len(self._queues)
        queues = self._queues[turn:] + self._queues[:turn]
        return step("claim_queues", owner=owner, queues=queues, limit=limit)

    # --- settling -----------------------------------------------------------------------------

    def exchange(self, settlements: Sequence[Settlement], limit: int) -> Exchange:
        self._session()
        if self._results is not None:
            settlements = self._store_elsewhere(self._results, settlements)
        return self._exchange(settlements, limit, wait=False)

    def _exchange(self, settlements: Sequence[Settlement], limit: int, *, wait: bool) -> Exchange:
        connection = self._connection
        settling = self._settling(settlements) if settlements else None
        steps = list(settling.steps) if settling is not None else []
        settled = len(steps)
        maintain = limit > 0 and (wait or time.monotonic() >= self._maintain_at)
        if maintain:
            self._rescue()
        if limit > 0:
            self._rung = False
            steps += self._before_claiming(wait=wait, maintain=maintain)
            steps.append(self._claim(limit))
        if maintain:
            steps.append(connection.step("next_moments", queues=self._queues, owner=self._owner))
        here = self._results_here
        rings = rings_of(self._bells, settlements, self._own_bells, here=here)
        rows = connection.run(steps, rings=rings) if steps else []
        self._hear()
        if settling is not None:
            self._follow(settling.followed(rows[:settled]))
        # Our own locks do not tell us of ourselves.
        self._rung = self._rung or any(bell in self._own_bells for bell, _ in rings)
        if maintain:
            self._set_times(rows[-1])
        deliveries: tuple[Delivery, ...] = ()
        if limit > 0:
            deliveries = _deliveries(rows[-2 if maintain else -1])
            self._waiting = self._waiting or wait
            self._busy = self._busy + 1 if deliveries else 0
            # Where there was something there may be more.
            self._rung = self._rung or bool(deliveries)
        lost = () if settling is None else settling.lost(rows[:settled])
        return Exchange(lost, deliveries)

    def _settling(self, settlements: Sequence[Settlement]) -> Settling:
        return Settling(
            self._connection,
            self._bells,
            settlements,
            owner=self._owner,
            worker=self._presence.name,
            here=self._results_here,
        )

    def _follow(self, queues: Sequence[str]) -> None:
        """Ring for what joins have sent: seldom, so not in every exchange that fills a slot."""
        if not queues:
            return
        self._ring_queues(queues)
        self._rung = self._rung or any(name in self._queues for name in queues)

    def _store_elsewhere(
        self, results: ResultBackend, settlements: Sequence[Settlement]
    ) -> Sequence[Settlement]:
        # Race: a claim may be rescued between this look and the transaction that settles. Then the
        # record is stored although the verdict is refused: the task runs again, and its record
        # comes after this one.
        brings = [each for each in settlements if each.effects.records or each.effects.joins]
        numbers = [packing.claim_id(each.receipt) for each in brings]
        ids = [number for number in numbers if number is not None]
        if not ids:
            return settlements
        rows = self._connection.one("held", owner=self._owner, ids=ids)
        return stored_elsewhere(results, settlements, {Receipt(str(row[0])) for row in rows})

    # --- what somebody must do from time to time ----------------------------------------------

    def _set_times(self, rows: Rows) -> None:
        now = time.monotonic()
        self._maintain_at = now + MAINTAIN_EVERY
        # A millisecond later, so that the look does not come before the moment.
        waits = [seconds + 0.001 for seconds in rows[0] if seconds is not None]
        self._look_at = now + max(0.0, min([*waits, LONGEST_REST]))

    def _rescue(self) -> None:
        """Free the claims of the dead and drop what has expired, now and then."""
        now = time.monotonic()
        connection = self._connection
        if now >= self._rescue_at:
            freed, _, ends = connection.run(
                [
                    connection.step("rescue"),
                    connection.step("bury", owner=self._owner),
                    connection.step("next_end", owner=self._owner),
                ]
            )
            ((seconds,),) = ends
            longest = min(LONGEST_REST, self._lease)
            wait = longest if seconds is None else min(longest, max(0.0, seconds) + 0.001)
            self._rescue_at = time.monotonic() + wait
            self._ring_queues({row[0] for row in freed})
        if now >= self._sweep_at:
            limit = SWEEP_LIMIT
            gone = connection.run(
                [
                    connection.step("drop_old_results", limit=limit),
                    connection.step("drop_old_groups", limit=limit),
                    connection.step("drop_old_joins", limit=limit),
                    connection.step("drop_old_revocations"),
                ]
            )
            more = max(rows[0][0] for rows in gone[:3]) >= limit
            self._sweep_at = 0.0 if more else now + SWEEP_EVERY

    def _ring_queues(self, names: Iterable[str]) -> None:
        rings = self._bells.of_queues(names)
        if rings:
            self._connection.run([], rings=rings)

    # --- session, lease and presence ----------------------------------------------------------

    def _session(self) -> None:
        """Have a session that listens and a lease that is alive. Raises BrokerUnavailable."""
        connection = self._connection
        connection.ensure()
        if connection.generation != self._generation:
            channels = [bell.channel for bell in (self._bells.control, *self._own_bells)]
            connection.run([connection.listen(channel) for channel in channels])
            self._news = self._generation >= 0  # what was told meanwhile, nobody heard
            self._generation = connection.generation
            self._waiting = False
            self._rescue_at = 0.0
        if self._owner < 0 or time.monotonic() >= self._renew_at:
            self._renew()

    def _renew(self) -> None:
        """Renew the lease, or begin a new one: what was claimed under the former is lost."""
        presence = msgspec.structs.replace(self._presence, seen=time.time())
        values = {"lease": self._lease, "presence": _write_presence(presence)}
        rows: Rows = []
        if self._owner >= 0:
            rows = self._connection.one("renew", owner=self._owner, **values)
        if not rows:
            rows = self._connection.one("register", name=presence.owner, **values)
            self._owner = int(rows[0][0])
        self._renew_at = time.monotonic() + self._lease / 3

    def extend(self, receipts: Sequence[Receipt], presence: Presence) -> Sequence[Receipt]:
        self._presence = presence
        self._renew_at = 0.0
        self._session()
        connection = self._connection
        numbers = [packing.claim_id(receipt) for receipt in receipts]
        ids = [number for number in numbers if number is not None]
        held_rows, freed = connection.run(
            [
                connection.step("held", owner=self._owner, ids=ids),
                connection.step("release_all_but", owner=self._owner, ids=ids),
            ]
        )
        self._hear()
        self._ring_queues({row[0] for row in freed})
        held = {str(row[0]) for row in held_rows}
        return [receipt for receipt in receipts if receipt not in held]

    # --- the rest -----------------------------------------------------------------------------

    def revocations(self) -> Sequence[Revocation]:
        if not self._news and not self._unread:
            return ()
        self._session()
        rows = self._connection.one("revocations_since", serial=self._serial)
        self._news = self._unread = False
        self._hear()
        self._serial = max([self._serial, *(row[0] for row in rows)])
        return [
            Revocation(task_id=task_id, terminate=terminate, signal=signal)
            for _, task_id, terminate, signal in rows
        ]

    def reconnect(self) -> None:
        self._connection.close()

    def wake(self) -> None:
        self._doorbell.ring()

    def close(self) -> None:
        owner, self._owner = self._owner, -1
        if owner < 0:
            return
        try:
            if self._pid == os.getpid():  # else the claims are the parent's, who is at work on them
                self._leave(owner)
        except OperationalError as error:
            # Nothing is lost: the lease ends, and any consumer of the queues takes them back.
            logger.warning("claims go back when their lease ends: %s", error)
        finally:
            self._connection.close()
            self._doorbell.close()

    def _leave(self, owner: int) -> None:
        connection = self._connection
        steps = [
            connection.step("release_all_but", owner=owner, ids=[]),
            connection.step("leave", owner=owner),
        ]
        rings = [(bell, "") for bell in self._own_bells]
        connection.run(steps, rings=rings, timeout=GOODBYE)


def _deliveries(rows: Rows) -> tuple[Delivery, ...]:
    return tuple(
        Delivery(
            receipt=Receipt(str(number)),
            queue=queue,
            raw=bytes(raw),
            count=count + 1,
            redelivered=count > 0,
        )
        for number, queue, count, raw in rows
    )
