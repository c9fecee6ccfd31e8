"""Runs that happened twice: which fault allowed it, and which happened without one.

Used by ``audit``. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

from torture.fault import Fault
from torture.journal import Run
from torture.load import Key
from torture.running import Record

UNSETTLED = 1.0
"""Seconds that a run which has ended may still wait to be settled."""
AFTERMATH = 2.0
"""Seconds in which a worker that was frozen or cut off may begin what it no longer owns."""
RECONNECT = 6.0
"""Seconds after the store came back until the last worker has: they try at most 5 s apart."""


def end_of(fault: Fault) -> float:
    return math.inf if fault.ended is None else fault.ended + fault.lingers


class FaultIndex:
    """Faults by whom they hit."""

    def __init__(self, faults: list[Fault]) -> None:
        self._everywhere = [each for each in faults if each.everywhere]
        self._by_worker: dict[str, list[Fault]] = {}
        self._by_pid: dict[int, list[Fault]] = {}
        for fault in faults:
            for worker in fault.workers:
                self._by_worker.setdefault(worker, []).append(fault)
            for pid in fault.pids:
                self._by_pid.setdefault(pid, []).append(fault)

    def _all(self, run: Run) -> list[Fault]:
        return [
            *self._everywhere,
            *self._by_worker.get(run.worker, ()),
            *self._by_pid.get(run.pid, ()),
        ]

    def hitting(self, run: Run) -> list[Fault]:
        """Return the faults that hit the owner of a run and may have it repeated."""
        return [each for each in self._all(run) if each.repeats]

    def in_flight(self, run: Run) -> list[Fault]:
        """Return those of them in whose time the run was not settled yet."""
        settled = self.settled_by(run)
        return [
            fault
            for fault in self.hitting(run)
            if fault.began <= settled and end_of(fault) + RECONNECT >= run.began
        ]

    def settled_by(self, run: Run) -> float:
        """Return when, at the latest, the end of a run was settled unless its owner was killed.

        What froze the owner, or stood between it and the store, delays that.
        """
        if run.ended is None:
            return math.inf
        settled = run.ended + UNSETTLED
        for fault in sorted(self._all(run), key=lambda each: each.began):
            over = end_of(fault) + RECONNECT
            if not fault.kills and fault.began <= settled and over >= run.ended:
                settled = max(settled, over)
        return settled


class Senders:
    """The runs that sent a run, where a crash between its sending and its end repeats both.

    In a store that takes what a run sends and its end in one step, nothing is sent twice.
    """

    def __init__(self, record: Record, index: FaultIndex) -> None:
        self._record = record
        self._index = index
        self._calls = {call.number: call for call in record.plan.calls}

    def explanation(self, key: Key) -> str:
        """Return why this run may have been sent more than once, or nothing."""
        number, step = key
        if self._record.plan.setup.atomic or number not in self._calls:
            return ""
        header = len(self._calls[number].header)
        if header and step < header:
            return ""  # the client sent it
        for before in range(step):
            runs = self._record.runs.get((number, before), [])
            if len(runs) > 1:
                return "sent by what was repeated"
            if any(self._index.in_flight(run) for run in runs):
                return "sent twice by whom a fault hit"
        return ""


def look_at_repeats(record: Record, repeats: Counter[str], unexplained: list[str]) -> None:
    """Count the runs that began again by why they may have; name those that must not have."""
    index = FaultIndex(record.faults)
    senders = Senders(record, index)
    for key, runs in record.runs.items():
        runs.sort(key=lambda run: run.began)
        for before, after in pairwise(runs):
            why = _explanation(index, before, after) or senders.explanation(key)
            repeats[why or "unexplained"] += 1
            if not why:
                unexplained.append(_told(key, before, after))


def _told(key: Key, before: Run, after: Run) -> str:
    ended = "never ended" if before.ended is None else f"ended {before.ended:.3f}"
    return (
        f"call {key[0]} run {key[1]}: began {before.began:.3f} in {before.worker}"
        f" (pid {before.pid}), {ended}; began again {after.began:.3f} in {after.worker}"
        f" (pid {after.pid})"
    )


def _explanation(index: FaultIndex, before: Run, after: Run) -> str:
    for fault in index.in_flight(before):
        if fault.began <= after.began:
            return fault.name
    for fault in index.hitting(after):
        # It held the claim when it was frozen; meanwhile another ran it.
        if fault.began <= after.began <= end_of(fault) + AFTERMATH and not fault.kills:
            return fault.name
    return ""


def count_in_flight(record: Record) -> int:
    """Count what ran, or had just ended, on the victims while they were hit."""
    index = FaultIndex(record.faults)
    return sum(
        any(
            fault.began <= (math.inf if run.ended is None else run.ended + UNSETTLED)
            and end_of(fault) >= run.began
            for fault in index.hitting(run)
        )
        for runs in record.runs.values()
        for run in runs
    )
