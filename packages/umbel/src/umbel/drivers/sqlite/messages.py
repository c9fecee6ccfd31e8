"""What one transaction does to messages: arrive, be claimed, be settled, be rescued.

Called by ``broker.py`` and ``consumer.py``, inside a writing transaction of theirs: there is one
writer at a time, so nothing changes between two statements here. Commits nothing, wakes nobody.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from umbel.drivers.sqlite.boot import BOOT
from umbel.drivers.sqlite.connection import Database
from umbel.drivers.sqlite.statements import SQL
from umbel.model.delivery import Ack, Delivery, Quarantine, Receipt, Requeue, Settlement, Verdict
from umbel.model.queues import Outgoing
from umbel.wire.envelope import dump_compact

MOST_AT_ONCE = 1000
"""How many resting messages one transaction moves: the rest is due in the next."""


class Row(msgspec.Struct, frozen=True):
    """A message on its way into the database, encoded outside the transaction."""

    queue: str
    priority: int
    raw: bytes
    due: float | None


def encode(outgoing: Iterable[Outgoing]) -> list[Row]:
    """Return what will be written for these."""
    return [
        Row(
            each.queue.name,
            _priority(each.message.properties.get("priority")),
            dump_compact(each.message),
            _unix(each.due_at),
        )
        for each in outgoing
    ]


def add(database: Database, rows: Sequence[Row], now: float) -> None:
    """Put new messages at the back of their queues, or to rest until they are due."""
    if not rows:
        return
    place = take_places(database, len(rows))
    messages: list[tuple[int, str, int, int, bytes]] = []
    ready: list[tuple[str, int, int, int]] = []
    resting: list[tuple[str, float, int]] = []
    for row in rows:
        messages.append((place, row.queue, row.priority, place, row.raw))
        if row.due is not None and row.due > now:
            resting.append((row.queue, row.due, place))
        else:
            ready.append((row.queue, row.priority, place, place))
        place += 1
    database.executemany(SQL["add_message"], messages)
    database.executemany(SQL["add_ready"], ready)
    database.executemany(SQL["add_resting"], resting)


def take_places(database: Database, number: int) -> int:
    """Give out so many places; return the first."""
    # fetchall, here and wherever RETURNING is: the statement must have run to its end.
    ((last,),) = database.execute(SQL["take_places"], (number,)).fetchall()
    return int(last) - number + 1


def move_due(database: Database, queues: Sequence[str], now: float) -> bool:
    """Put what has become due at the back of its queue; True when something was."""
    moved = False
    for queue in queues:
        rows = database.execute(SQL["due"], (queue, now, MOST_AT_ONCE)).fetchall()
        if not rows:
            continue
        moved = True
        place = take_places(database, len(rows))
        database.executemany(
            SQL["move_to_place"], [(place + n, row[0]) for n, row in enumerate(rows)]
        )
        database.executemany(SQL["drop_resting"], [(queue, due, number) for number, due in rows])
        database.executemany(SQL["ready_again"], [(number,) for number, _ in rows])
    return moved


def claim(database: Database, owner: int, queues: Sequence[str], limit: int) -> list[Delivery]:
    """Claim the ``limit`` most urgent messages; queues take turns, beginning with the first."""
    if len(queues) == 1:
        found = database.execute(SQL["first_ready"], (queues[0], limit)).fetchall()
        chosen = [(queues[0], row) for row in found]
    else:
        chosen = _choose(database, queues, limit)
    if not chosen:
        return []
    token = secrets.randbits(62)
    ends = {queue: (row[0], row[1]) for queue, row in chosen}
    for queue, (priority, place) in ends.items():
        database.execute(SQL["drop_ready_up_to"], (queue, priority, place))
    database.executemany(SQL["add_claim"], [(owner, row[2], token) for _, row in chosen])
    return [
        Delivery(
            receipt=Receipt(f"{number:x}.{token:x}"),
            queue=queue,
            raw=raw,
            count=count + 1,
            redelivered=count > 0,
        )
        for queue, (_, _, number, count, raw) in chosen
    ]


def _choose(
    database: Database, queues: Sequence[str], limit: int
) -> list[tuple[str, tuple[int, int, int, int, bytes]]]:
    ranked: list[tuple[int, int, int, str, tuple[int, int, int, int, bytes]]] = []
    for turn, queue in enumerate(queues):
        rank, before = 0, None
        for row in database.execute(SQL["first_ready"], (queue, limit)).fetchall():
            rank = rank + 1 if row[0] == before else 0
            before = row[0]
            ranked.append((row[0], rank, turn, queue, row))
    # Urgency first; then the n-th of each queue before the n+1st of any. (priority, rank, turn) is
    # different for every row, so the comparison never gets as far as the message.
    ranked.sort()
    return [(queue, row) for _, _, _, queue, row in ranked[:limit]]


def parse_receipt(receipt: Receipt) -> tuple[int, int]:
    """Return the message and the token that the receipt names; (-1, -1) where it names none."""
    number, _, token = receipt.partition(".")
    try:
        found = int(number, 16), int(token, 16)
    except ValueError:
        return -1, -1
    return found if max(found) < 1 << 63 else (-1, -1)


def held(database: Database, owner: int, receipts: Iterable[Receipt]) -> set[Receipt]:
    """Return which of these claims are this owner's."""
    claims = set(database.execute(SQL["claims_of"], (owner,)).fetchall())
    return {receipt for receipt in receipts if parse_receipt(receipt) in claims}


def release_all_but(database: Database, owner: int, known: Iterable[Receipt]) -> bool:
    """Return claims whose owner does not know of them, uncounted; True when there were any.

    It never heard that it had them: the answer to its claim was lost.
    """
    claims = set(database.execute(SQL["claims_of"], (owner,)).fetchall())
    forgotten = sorted(claims - {parse_receipt(receipt) for receipt in known})
    database.executemany(SQL["ready_claim"], [(message,) for message, _ in forgotten])
    database.executemany(SQL["drop_claim"], [(owner, *claim) for claim in forgotten])
    return bool(forgotten)


def settle(
    database: Database, owner: int, settlements: Sequence[Settlement], now: float, worker: str
) -> list[Settlement]:
    """End the claims that are this owner's; return the settlements that were accepted.

    ``worker`` is the node name that is told of what is set aside. The effects are the caller's to
    perform, in the same transaction.
    """
    accepted: list[Settlement] = []
    done: list[tuple[int]] = []
    for settlement in settlements:
        number, token = parse_receipt(settlement.receipt)
        if settlement.verdict is None:
            held = database.execute(SQL["claim_is_held"], (owner, number, token)).fetchone()
            if held is not None:
                accepted.append(settlement)
            continue
        if database.execute(SQL["drop_claim"], (owner, number, token)).rowcount != 1:
            continue
        accepted.append(settlement)
        if isinstance(settlement.verdict, Ack):
            done.append((number,))
        else:
            _judge(database, number, settlement.verdict, now, worker)
    database.executemany(SQL["drop_message"], done)
    return accepted


def _judge(database: Database, number: int, verdict: Verdict, now: float, worker: str) -> None:
    match verdict:
        case Ack():
            database.execute(SQL["drop_message"], (number,))
        case Requeue(due_at=due_at, front=front, counted=counted, why=why):
            if counted:
                database.execute(SQL["count_claim"], (number,))
            due = _unix(due_at)
            if due is not None and due > now:
                (queue,) = database.execute(SQL["queue_of"], (number,)).fetchone()
                database.execute(SQL["park"], (queue, due, number, why))
                return
            if not front or due is not None:
                database.execute(SQL["move_to_place"], (take_places(database, 1), number))
            database.execute(SQL["ready_again"], (number,))
        case Quarantine(reason=reason, detail=detail, error=error):
            database.execute(SQL["set_aside"], (reason, detail, error, worker, now, number))
            database.execute(SQL["drop_message"], (number,))


def rescue(database: Database, but: int, monotonic: float) -> bool:
    """Return the claims of owners whose lease has ended, counted; True when there were any.

    ``monotonic`` is what the machine's monotonic clock reads now.
    """
    rescued = False
    for (owner,) in database.execute(SQL["dead_owners"], (BOOT, monotonic, but)).fetchall():
        rescued = release(database, owner, counted=True) or rescued
    return rescued


def release(database: Database, owner: int, *, counted: bool) -> bool:
    """End an owner's lease and return its claims to their places; True when it had any."""
    if counted:
        database.execute(SQL["count_claims_of"], (owner,))
    released = database.execute(SQL["ready_claims_of"], (owner,)).rowcount
    database.execute(SQL["drop_claims_of"], (owner,))
    database.execute(SQL["drop_owner"], (owner,))
    return released > 0


def purge(database: Database, queue: str) -> int:
    """Drop what is ready or rests in a queue; return how many."""
    database.execute(SQL["purge_messages"], (queue, queue))
    ready = database.execute(SQL["purge_ready"], (queue,)).rowcount
    return ready + database.execute(SQL["purge_resting"], (queue,)).rowcount


def _priority(value: object) -> int:
    return value if isinstance(value, int) else 0


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
