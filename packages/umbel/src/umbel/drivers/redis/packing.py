"""From settlements to the arguments of one script, and back from its reply to deliveries.

The part of ``consumer`` that costs CPU for each task, and what the consumer knows of its claims.
Talks to nobody, except ``SettlementPacker.check``.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from umbel.drivers.elsewhere import outgoing_of
from umbel.drivers.redis.connection import Argument, Connection
from umbel.drivers.redis.join_packing import Place, pack_joins
from umbel.drivers.redis.keys import Keys, QueueKeys, ResultKeys
from umbel.drivers.redis.publisher import Rendering, milliseconds
from umbel.model.delivery import (
    Ack,
    Delivery,
    Quarantine,
    Receipt,
    Requeue,
    Settlement,
)
from umbel.model.join import FillSlot
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Outgoing

_write_json = msgspec.json.Encoder().encode


class Claim(msgspec.Struct, frozen=True):
    """The half of an exchange that asks for more."""

    name: str
    lease: float
    limit: int
    number: int
    turn: int
    maintain: bool
    arm: bool


class Reply:
    """What the script ``exchange`` returns, by name."""

    __slots__ = (
        "claimed",
        "counts",
        "next_due",
        "next_end",
        "refused",
        "registered",
        "version",
    )

    def __init__(
        self,
        version: bytes,
        registered: list[int],
        next_due: int,
        next_end: int,
        refused: list[int],
        counts: list[int],
        claimed: list[list[Any]],
    ) -> None:
        self.version = version
        self.registered = registered
        self.next_due = next_due
        self.next_end = next_end
        self.refused = refused
        self.counts = counts
        self.claimed = claimed


class Batch:
    """The settlements of one exchange on their way."""

    __slots__ = ("arguments", "counted", "ended", "order", "sends", "unknown")

    def __init__(self, arguments: list[Argument]) -> None:
        self.arguments = arguments
        self.order: list[Receipt] = []
        """Receipts of the settlements that are sent, in the order of the script's numbers."""
        self.ended: dict[str, int] = {}
        """Claims that end with this batch, and their queues."""
        self.counted: list[Receipt] = []
        """Those of them whose message the store keeps a delivery count for."""
        self.unknown: list[Receipt] = []
        """Receipts that are not ours, which needs no asking."""
        self.sends = False
        """Whether something goes to a queue that we may be waiting for."""

    def answered(self, ledger: Ledger, refused: list[int]) -> tuple[Receipt, ...]:
        """Note what the script answered; return the receipts whose settlement had no effect."""
        ledger.answered(self)
        if not refused:
            return tuple(self.unknown)
        refusals = [self.order[index] for index in refused]
        for receipt in refusals:
            ledger.forget(receipt)
        return (*self.unknown, *refusals)


MOST_UNHEARD = 10_000
"""Settlements remembered at most whose reply was lost, until they are sent again."""


class Ledger:
    """Which claims are ours, as far as this process knows. Belongs to the consumer's thread.

    Grows with the claims that are held, and by ``MOST_UNHEARD``: see ``size``.
    """

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._counted: set[str] = set()
        self._in_doubt: set[str] = set()
        self._settled_unheard: dict[str, None] = {}
        # So that no receipt of a former consumer of this worker is one of ours by chance.
        self._next = secrets.randbits(31)

    def reserve(self, count: int) -> int:
        """Return the first of ``count`` claim numbers that were never used and never will be."""
        number = self._next
        self._next += count
        return number

    def holds(self, receipt: str) -> bool:
        """Tell whether the claim is ours."""
        return receipt in self._held

    def queue_of(self, receipt: str) -> int | None:
        """Return the index of a claim's queue, or None when it is not ours."""
        return self._held.get(receipt)

    def is_counted(self, receipt: str) -> bool:
        """Tell whether the store keeps a delivery count for the claimed message."""
        return bool(self._counted) and receipt in self._counted

    def was_settled(self, receipt: str) -> bool:
        """Tell, once, whether a settlement was carried out whose reply was lost."""
        return self._settled_unheard.pop(receipt, self) is None

    def end(self, receipt: str) -> None:
        """Take the claim off the list: its settlement is on its way."""
        del self._held[receipt]

    def forget(self, receipt: str) -> None:
        """Drop everything known of a claim."""
        self._held.pop(receipt, None)
        self._counted.discard(receipt)
        self._in_doubt.discard(receipt)

    def answered(self, batch: Batch) -> None:
        """The reply came: these claims have ended, and nothing about them is of interest."""
        if batch.counted:
            self._counted.difference_update(batch.counted)
        if self._in_doubt:  # the last try was refused, and this one was not
            self._in_doubt.difference_update(batch.ended)

    def doubt(self, batch: Batch) -> None:
        """The reply did not come: these claims may or may not have ended."""
        self._held.update(batch.ended)
        self._in_doubt.update(batch.ended)

    def lose(self, queue: int) -> None:
        """Every claim of a queue went to somebody else."""
        for receipt in [each for each, index in self._held.items() if index == queue]:
            self.forget(receipt)

    @property
    def size(self) -> int:
        """How much is remembered: at most three entries a claim held, and ``MOST_UNHEARD``."""
        known = len(self._held) + len(self._counted) + len(self._in_doubt)
        return known + len(self._settled_unheard)

    def all(self) -> list[str]:
        """Return every receipt that is ours."""
        return list(self._held)

    def by_queue(self, receipts: Iterable[str], queues: int) -> list[list[str]]:
        """Return those of the receipts that are ours, for each queue."""
        sorted_out: list[list[str]] = [[] for _ in range(queues)]
        for receipt in receipts:
            queue = self._held.get(receipt)
            if queue is not None:
                sorted_out[queue].append(receipt)
        return sorted_out

    def keep(self, queue: int, named: list[str], missing: set[str], *, alive: bool) -> None:
        """Of one queue's claims keep those that were named and are there."""
        wanted = set(named)
        for receipt in [each for each, index in self._held.items() if index == queue]:
            if receipt in wanted and receipt not in missing:
                self._in_doubt.discard(receipt)
                continue
            # The lease never ended, so nobody took it: our own settlement arrived.
            settled = alive and receipt in missing and receipt in self._in_doubt
            self.forget(receipt)
            if settled:
                self._settled_unheard[receipt] = None
                if len(self._settled_unheard) > MOST_UNHEARD:
                    # Whoever asks for so old a one is told that it is not ours, as it is not.
                    del self._settled_unheard[next(iter(self._settled_unheard))]

    def claimed(self, queues: list[QueueKeys], number: int, reply: Reply) -> tuple[Delivery, ...]:
        """Enter what the script claimed, and return it."""
        held = self._held
        deliveries: list[Delivery] = []
        for run in reply.claimed:
            index, list_index = run[0], run[1]
            name = queues[index].name
            for raw in itertools.islice(run, 2, None):
                receipt = Receipt(f"{number}:{list_index}")
                number += 1
                held[receipt] = index
                deliveries.append(Delivery(receipt, name, raw))
        counts = reply.counts
        for position, count in zip(counts[::2], counts[1::2], strict=True):
            first = deliveries[position]
            self._counted.add(first.receipt)
            deliveries[position] = Delivery(first.receipt, first.queue, first.raw, count, True)
        return tuple(deliveries)


class SettlementPacker:
    """Turns settlements into arguments of the script ``exchange``. Immutable."""

    def __init__(
        self,
        keys: Keys,
        db: int,
        result_keys: ResultKeys | None,
        result_db: int | None,
        worker: str,
    ) -> None:
        """``result_keys``: of results that the script writes, or None when it writes none;
        ``result_db``: their database when it is another one; ``worker``: the node name that is
        told of what is set aside.
        """
        self._keys = keys
        self._rendering = Rendering(keys)
        self._results = result_keys
        self._worker = worker
        self._tail: list[Argument] = [db, "" if result_db is None else result_db, len(keys.steps)]
        self._check = [] if result_db is None else [("SELECT", result_db), ("SELECT", db)]

    def check(self, connection: Connection, deadline: float) -> None:
        """Raise now if the results' database cannot be selected: a script must not find out."""
        if self._check:
            connection.pipeline(self._check, deadline)

    def keys(self, queues: list[QueueKeys], name: str) -> list[bytes]:
        """Return the keys that the script wants."""
        owner = name.encode()
        keys = [self._keys.revoked_version]
        for queue in queues:
            keys += [
                queue.owners,
                queue.claims + owner,
                queue.deliveries,
                queue.delayed,
                queue.alarm,
                queue.quarantine,
                *queue.lists,
            ]
        return keys

    def pack(self, settlements: Sequence[Settlement], ledger: Ledger, claim: Claim) -> Batch:
        """Return the script's arguments; claims that end are taken off the ledger."""
        arguments: list[Argument] = [
            claim.name,
            max(1, round(claim.lease * 1000)),
            claim.limit,
            claim.number,
            claim.turn,
            1 if claim.maintain else 0,
            *self._tail,
            1 if claim.arm else 0,
        ]
        batch = Batch(arguments)
        for settlement in settlements:
            receipt = settlement.receipt
            queue = ledger.queue_of(receipt)
            if queue is None:
                if not ledger.was_settled(receipt):
                    batch.unknown.append(receipt)
                continue
            batch.order.append(receipt)
            if settlement.verdict is not None:
                batch.ended[receipt] = queue
                ledger.end(receipt)
            counted = ledger.is_counted(receipt)
            if counted and settlement.verdict is not None:
                batch.counted.append(receipt)
            self._pack_one(settlement, queue, counted, batch)
        return batch

    def _pack_one(self, settlement: Settlement, queue: int, counted: bool, batch: Batch) -> None:
        verdict, effects, arguments = settlement.verdict, settlement.effects, batch.arguments
        records = () if self._results is None else effects.records
        if type(verdict) is Ack:
            if not counted and not effects.outgoing and not effects.joins and len(records) < 2:
                # Nearly every task ends here: done, one record.
                self._pack_plain(settlement.receipt, queue, records, arguments)
                return
            arguments += ("C" if counted else "D", queue, settlement.receipt)
        elif verdict is None:
            arguments += ("k", queue, settlement.receipt)
        elif type(verdict) is Requeue:
            batch.sends = True
            arguments += (
                "r",
                queue,
                settlement.receipt,
                "" if verdict.due_at is None else milliseconds(verdict.due_at),
                1 if verdict.front else 0,
                1 if verdict.counted else 0,
                "" if verdict.why is None else _write_json({"reason": verdict.why}),
            )
        else:
            assert type(verdict) is Quarantine
            arguments += ("q", queue, settlement.receipt, *line_of(verdict, self._worker))
        joins = () if self._results is None else effects.joins
        arguments += (len(records), len(effects.outgoing), len(joins))
        for record in records:
            arguments += self._record(record)
        for outgoing in effects.outgoing:
            batch.sends = True
            self._pack_outgoing(outgoing, arguments)
        if joins:
            batch.sends = True
            assert self._results is not None
            pack_joins(joins, self._results, self._place, arguments)

    def _place(self, step: FillSlot) -> Place:
        """Return the list that what follows a join goes to, and its envelope in two halves."""
        outgoing = outgoing_of(step.then)
        queue = self._keys.queue(outgoing.queue.name)
        head, tail = self._rendering.halves(outgoing)
        return queue.lists[self._rendering.list_index(outgoing)], head, tail

    def _pack_plain(
        self,
        receipt: Receipt,
        queue: int,
        records: Sequence[ResultRecord],
        arguments: list[Argument],
    ) -> None:
        if records:
            arguments += ("1", queue, receipt, *self._record(records[0]))
        else:
            arguments += ("d", queue, receipt)

    def _record(self, record: ResultRecord) -> tuple[bytes, bytes, int]:
        assert self._results is not None
        life = 0 if not record.expires else max(1, round(record.expires * 1000))
        return self._results.task(record.task_id), record.document, life

    def _pack_outgoing(self, outgoing: Outgoing, arguments: list[Argument]) -> None:
        rendering = self._rendering
        queue = self._keys.queue(outgoing.queue.name)
        index = rendering.list_index(outgoing)
        arguments += (queue.lists[index], rendering.envelope(outgoing))
        if outgoing.due_at is None:
            arguments.append("")
        else:
            arguments += (milliseconds(outgoing.due_at), queue.delayed, queue.alarm, index)


def line_of(verdict: Quarantine, worker: str | None) -> tuple[str, bytes]:
    """Return a new key and the line of JSON that is kept before the envelope."""
    line = {
        "reason": verdict.reason,
        "detail": verdict.detail,
        "error": verdict.error,
        "worker": worker,
    }
    return os.urandom(8).hex(), _write_json(line)
