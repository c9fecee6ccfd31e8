"""From values to the arrays that statements take: messages, records, settlements.

Called by everything here that writes. Pure: sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from umbel.errors import EncodeError
from umbel.model.delivery import Ack, Quarantine, Receipt, Requeue, Settlement, Verdict
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Outgoing
from umbel.wire.envelope import dump_compact

_GREATEST_ID = 2**63 - 1
_GREATEST_PRIORITY = 2**15 - 1

Arrays = dict[str, list[Any]]
_RECORD_ARRAYS = ("r_tasks", "r_states", "r_finals", "r_lives", "r_documents")


def messages(outgoing: Iterable[Outgoing]) -> tuple[Arrays, bool]:
    """Return the arrays of ``add_messages``, and whether any of them has a time to rest until."""
    arrays: Arrays = {"queues": [], "priorities": [], "dues": [], "raws": []}
    resting = False
    for each in outgoing:
        arrays["queues"].append(text_of(each.queue.name, "a queue's name"))
        arrays["priorities"].append(priority_of(each))
        arrays["dues"].append(each.due_at)
        arrays["raws"].append(dump_compact(each.message))
        resting = resting or each.due_at is not None
    return arrays, resting


def priority_of(outgoing: Outgoing) -> int:
    """Return the priority of a message as the tables hold it; 0 where none is given."""
    value = outgoing.message.properties.get("priority")
    if not isinstance(value, int):
        return 0
    return max(-_GREATEST_PRIORITY, min(_GREATEST_PRIORITY, value))


def text_of(text: str, what: str) -> str:
    """Return a text that PostgreSQL can hold. Raises EncodeError for the others."""
    if "\0" in text or not text.isascii():
        _check(text, what)
    return text


def _check(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{what} has a lone surrogate, which is not text: {text!r}") from None
    if "\0" in text:
        raise EncodeError(f"{what} has a zero character, which PostgreSQL cannot hold: {text!r}")


def records(stored: Iterable[ResultRecord]) -> Arrays:
    """Return the arrays of ``store_results``.

    One row a task, for a statement may touch a row only once; in the order of the ids, so that two
    processes that store the same ones never wait for each other in a circle.
    """
    arrays = records_of((0, record) for record in stored)
    del arrays["r_ids"]
    return arrays


def records_of(stored: Iterable[tuple[int, ResultRecord]]) -> Arrays:
    """Return the arrays of ``records`` and ``r_ids``: the number of what each record belongs to.

    As there: one row a task, in the order of the ids.
    """
    last: dict[str, tuple[int, ResultRecord]] = {}
    for number, record in stored:
        before = last.get(record.task_id)
        if before is None or before[1].state != "SUCCESS":
            last[record.task_id] = (number, record)
    arrays: Arrays = {"r_ids": [], **{name: [] for name in _RECORD_ARRAYS}}
    for task_id in sorted(last):
        number, record = last[task_id]
        arrays["r_ids"].append(number)
        _add(arrays, record)
    return arrays


def _add(arrays: Arrays, record: ResultRecord) -> None:
    arrays["r_tasks"].append(text_of(record.task_id, "a task's id"))
    arrays["r_states"].append(text_of(str(record.state), "the state of a task"))
    arrays["r_finals"].append(record.final)
    arrays["r_lives"].append(record.expires)
    arrays["r_documents"].append(record.document)


def claim_id(receipt: Receipt) -> int | None:
    """Return the number that a receipt of ours is, or None where it is none."""
    if not receipt.isascii() or not receipt.isdecimal() or len(receipt) > 19:
        return None
    number = int(receipt)
    return number if number <= _GREATEST_ID and str(number) == receipt else None


class Batch:
    """Settlements that one statement can carry out: no claim and no task twice."""

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []
        self._claims: dict[int, Settlement] = {}
        self._records: dict[str, tuple[int, ResultRecord]] = {}

    @property
    def ids(self) -> list[int]:
        """The claims, in order."""
        return list(self._claims)

    def take(self, settlement: Settlement, number: int) -> bool:
        """Add a settlement, unless its claim or one of its tasks is here already."""
        tasks = [record.task_id for record in settlement.effects.records]
        if number in self._claims or any(task in self._records for task in tasks):
            return False
        self.settlements.append(settlement)
        self._claims[number] = settlement
        for record in settlement.effects.records:
            before = self._records.get(record.task_id)
            if before is None or before[1].state != "SUCCESS":
                self._records[record.task_id] = (number, record)
        return True

    def statement(self, owner: int, worker: str, *, here: bool) -> tuple[str, Mapping[str, Any]]:
        """Return the name of the statement and its values; ``here``: records are stored as well."""
        stored = self._records.values() if here else ()
        values: dict[str, Any] = {"owner": owner, "ids": self.ids, **records_of(stored)}
        if all(type(e.verdict) is Ack and not e.effects.outgoing for e in self.settlements):
            return "settle_done", values
        values["worker"] = worker
        values.update(self._verdicts())
        values.update(self._outgoing())
        return "settle", values

    def _verdicts(self) -> Arrays:
        rows = [_verdict(each.verdict) for each in self.settlements]
        names = ("verdicts", "dues", "counted", "reasons", "details", "errors")
        return {name: [row[at] for row in rows] for at, name in enumerate(names)}

    def _outgoing(self) -> Arrays:
        pairs = [(n, o) for n, each in self._claims.items() for o in each.effects.outgoing]
        arrays, _ = messages(outgoing for _, outgoing in pairs)
        return {"o_ids": [n for n, _ in pairs], **{f"o_{k}": v for k, v in arrays.items()}}


def batches(settlements: Iterable[Settlement]) -> list[Batch]:
    """Put the settlements into as few batches as can be, in order; one, but for odd cases.

    Receipts that were never ours are in none.
    """
    made: list[Batch] = []
    for each in settlements:
        number = claim_id(each.receipt)
        if number is None:
            continue
        if not made or not made[-1].take(each, number):
            made.append(Batch())
            made[-1].take(each, number)
    return made


def lost(
    settlements: Sequence[Settlement], made: Sequence[Batch], rows: Sequence[Sequence[Any]]
) -> tuple[Receipt, ...]:
    """Return the receipts that no batch held; ``rows`` are the claims that each batch held."""
    held: list[bool] = []
    for batch, some in zip(made, rows, strict=True):
        ours = {row[0] for row in some}
        held += [number in ours for number in batch.ids]
    if len(held) == len(settlements) and all(held):
        return ()
    answers = iter(held)
    return tuple(
        each.receipt for each in settlements if claim_id(each.receipt) is None or not next(answers)
    )


def _verdict(verdict: Verdict | None) -> tuple[Any, ...]:
    match verdict:
        case None:
            return "keep", None, False, None, None, None
        case Requeue(due_at=due_at, front=front, counted=counted, why=why):
            word = "later" if due_at is not None else "front" if front else "back"
            return word, due_at, counted, cleaned(why), None, None
        case Quarantine(reason=reason, detail=detail, error=error):
            return "aside", None, False, cleaned(reason), cleaned(detail), cleaned(error)
        case _:
            return "ack", None, False, None, None, None


def cleaned(text: str | None) -> str | None:
    """Return a text for people to read, without what PostgreSQL cannot hold."""
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def goes_back(settlement: Settlement) -> bool:
    """Tell whether this gives its message back."""
    return isinstance(settlement.verdict, Requeue)


def destinations(settlements: Iterable[Settlement]) -> Iterator[str]:
    """Yield the queues that settlements send to."""
    for each in settlements:
        for outgoing in each.effects.outgoing:
            yield outgoing.queue.name
