"""How long it took until what somebody dead had run was free to run again. Pure; see ``audit``."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field

from torture.fault import Fault
from torture.journal import Run
from torture.repeats import AFTERMATH, end_of
from torture.running import Record


@dataclass(slots=True)
class Rescue:
    """How long it took until what somebody dead had run was free to run again.

    What an executor ran goes to the back of its queue: the time that calls wait there just then
    is taken off. What a dead worker held goes to the front.
    """

    clear: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    """The same where another fault, or an earlier death of the task, came in between."""


def rescues_of(record: Record) -> dict[str, Rescue]:
    found: dict[str, Rescue] = {}
    if not record.plan.setup.at_least_once:
        return found
    by_pid: dict[int, list[list[Run]]] = {}
    for runs in record.runs.values():
        for pid in {run.pid for run in runs}:
            by_pid.setdefault(pid, []).append(runs)
    waits = _Waits(record)
    for fault in record.faults:
        if fault.kills:
            rescue = found.setdefault(fault.kills, Rescue())
            for pid in fault.pids:
                for runs in by_pid.get(pid, ()):
                    _note_rescue(rescue, record, fault, pid, runs, waits)
    return found


class _Waits:
    """How long plain calls waited in their queue, by the moment in which they began."""

    def __init__(self, record: Record) -> None:
        found: list[tuple[float, float]] = []
        for call in record.plan.calls:
            sent, runs = record.sent[call.number], record.runs.get((call.number, 0))
            if call.kind == "plain" and sent.word == "ok" and runs and len(runs) == 1:
                found.append((runs[0].began, max(0.0, runs[0].began - sent.after)))
        found.sort()
        self._moments = [moment for moment, _ in found]
        self._waits = [wait for _, wait in found]

    def at(self, moment: float) -> float:
        """Return how long the call waited that began last before a moment."""
        index = bisect(self._moments, moment)
        return self._waits[index - 1] if index else 0.0


def _note_rescue(
    rescue: Rescue, record: Record, fault: Fault, pid: int, runs: list[Run], waits: _Waits
) -> None:
    cut_short = [
        run for run in runs if run.pid == pid and run.ended is None and run.began <= fault.began
    ]
    later = [run for run in runs if run.began > fault.began]
    if not cut_short or not later:
        return
    seconds = later[0].began - fault.began
    if fault.kills == "executor":
        seconds = max(0.0, seconds - waits.at(later[0].began))
    earlier = sum(1 for run in runs if run.ended is None and run.began < cut_short[-1].began)
    clear = not earlier and not any(
        _comes_between(other, fault, cut_short[-1], later[0])
        for other in record.faults
        if other is not fault
    )
    (rescue.clear if clear else rescue.disturbed).append(seconds)


def _comes_between(other: Fault, fault: Fault, run: Run, again: Run) -> bool:
    """Tell whether another fault may have delayed the rescue."""
    if other.began > again.began or end_of(other) + AFTERMATH < fault.began:
        return False
    return other.everywhere or (fault.kills == "executor" and run.worker in other.workers)
