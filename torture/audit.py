"""The audit: what was promised, against what was seen. Pure.

``Verdict.broken`` lists every promise that was broken, one sentence each; empty is what we want.
A run that happened twice must be explained by a fault that allows a repeat and hit its owner while
the run was in flight; one that is not breaks a promise, whatever else went on.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from torture.faults import Fault
from torture.journal import Run
from torture.load import Call, Key, Outcome
from torture.results import Found
from torture.running import Record, Sent
from torture.slope import quantile

UNSETTLED = 1.0
"""Seconds that a run which has ended may still wait to be settled."""
AFTERMATH = 2.0
"""Seconds in which a worker that was frozen or cut off may begin what it no longer owns."""
RECONNECT = 6.0
"""Seconds after the store came back until the last worker has: they try at most 5 s apart."""
EARLY = 0.02
"""Seconds a task may begin before its time: clocks are read at two places."""
EXECUTOR_LIMIT = 1.0
"""Seconds to rescue what a dead executor ran, at p99."""
MACHINE_LIMIT = 2.0
"""The same above one lease, for a dead machine."""
SHOWN = 10


@dataclass(slots=True)
class Rescue:
    """How long it took until what somebody dead had run was free to run again.

    What an executor ran goes to the back of its queue: the time that calls wait there just then
    is taken off. What a dead worker held goes to the front.
    """

    clear: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    """The same where another fault, or an earlier death of the task, came in between."""


@dataclass(slots=True)
class Verdict:
    """The figures of one run."""

    confirmed: int = 0
    maybe: int = 0
    unsent: int = 0
    outcomes: int = 0
    """Outcomes that confirmed calls must have, linked tasks among them."""
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    told_lost: int = 0
    """At most once: tasks whose outcome says that their worker was lost."""
    ghosts: list[str] = field(default_factory=list)
    leftovers: dict[str, list[str]] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    allowed: int = 0
    """Runs that were in flight on the victims of faults which allow a repeat."""
    premature: list[str] = field(default_factory=list)
    rescues: dict[str, Rescue] = field(default_factory=dict)
    start_delays: list[float] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)
    would_not_end: list[str] = field(default_factory=list)
    waited_wrong: int = 0
    broken: list[str] = field(default_factory=list)


def audit(record: Record) -> Verdict:
    """Compare everything that was seen with everything that was promised."""
    verdict = Verdict()
    calls = {call.number: call for call in record.plan.calls}
    for call in calls.values():
        sent = record.sent[call.number]
        _count_sent(verdict, sent)
        if sent.word == "never":
            _look_for_ghosts(verdict, record, call)
        else:
            for outcome in call.outcomes():
                _look_at_outcome(verdict, record, call, sent, outcome)
        _look_at_start(verdict, record, call, sent)
    verdict.runs = sum(map(len, record.runs.values()))
    index = _FaultIndex(record.faults)
    for key, runs in record.runs.items():
        _look_at_repeats(verdict, index, key, runs)
    verdict.allowed = _in_flight(record)
    verdict.leftovers = {} if record.traces else record.leftovers
    verdict.rescues = _rescues(record)
    for gone in record.gone:
        if not gone.expected:
            verdict.gave_up.append(f"{gone.worker} (status {gone.status}): {gone.last_words}")
        elif gone.killed:
            verdict.would_not_end.append(gone.worker)
    verdict.waited_wrong = sum(n for word, n in record.waited.items() if word != "right")
    verdict.broken = _broken(verdict, record)
    return verdict


# --- one call -------------------------------------------------------------------------------------


def _count_sent(verdict: Verdict, sent: Sent) -> None:
    verdict.confirmed += sent.word == "ok"
    verdict.maybe += sent.word == "maybe"
    verdict.unsent += sent.word == "never"


def _look_for_ghosts(verdict: Verdict, record: Record, call: Call) -> None:
    if any(key in record.runs for outcome in call.outcomes() for key in outcome.keys):
        verdict.ghosts.append(f"{call.task_id} (call {call.number}) ran")


def _look_at_outcome(
    verdict: Verdict, record: Record, call: Call, sent: Sent, outcome: Outcome
) -> None:
    found = record.found.get(outcome.task_id)
    ran = any(key in record.runs for key in outcome.keys)
    if sent.word == "ok":
        verdict.outcomes += 1
    elif not ran:
        return  # it did not arrive, and nobody said that it had
    name = f"{outcome.task_id} ({call.kind} call {call.number})"
    if found is None:
        places = record.traces.get(outcome.task_id)
        if places:
            verdict.stuck.append(f"{name}: lies in {', '.join(sorted(set(places))[:3])}")
        else:
            verdict.lost.append(f"{name}: {'it ran, and has no outcome' if ran else 'never ran'}")
        return
    wrong = _what_is_wrong(record, outcome, found)
    if wrong and not record.plan.setup.at_least_once and _says_lost(found):
        verdict.told_lost += 1
    elif wrong:
        verdict.wrong.append(f"{name}: {wrong}")


def _says_lost(found: Found) -> bool:
    text = str(found.value)
    return found.state == "FAILURE" and ("WorkerLostError" in text or "ChordError" in text)


def _what_is_wrong(record: Record, outcome: Outcome, found: Found) -> str:
    if found.state not in outcome.states:
        return f"{found.state} {found.value!r} where {' or '.join(outcome.states)} is right"
    if found.state == "REVOKED":
        return ""
    if found.state == "SUCCESS" and found.value != outcome.value:
        return f"the result is {found.value!r}, not {outcome.value!r}"
    if found.state == "FAILURE" and "ValueError" not in str(found.value):
        return f"it failed with {found.value!r}"
    for key in outcome.keys:
        if not any(run.ended is not None for run in record.runs.get(key, ())):
            return f"{found.state}, but run {key[1]} never ended"
    return ""


def _look_at_start(verdict: Verdict, record: Record, call: Call, sent: Sent) -> None:
    runs = record.runs.get((call.number, 0))
    if not runs or sent.word != "ok":
        return
    began = min(run.began for run in runs)
    if call.kind == "plain":
        verdict.start_delays.append(max(0.0, began - sent.after))
    if call.countdown is not None:
        early = sent.before + call.countdown - began
        if early > EARLY and not _clocks_jumped(record, sent.before, began):
            verdict.premature.append(f"{call.task_id}: {early:.3f} s before its time")


def _clocks_jumped(record: Record, since: float, until: float) -> bool:
    """On SQLite the clocks of the workers say what is due; a server goes by its own."""
    return record.plan.setup.store == "sqlite" and any(
        fault.name == "clock-jump" and fault.began <= until and _end(fault) >= since
        for fault in record.faults
    )


# --- repeats --------------------------------------------------------------------------------------


def _end(fault: Fault) -> float:
    return math.inf if fault.ended is None else fault.ended


class _FaultIndex:
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

    def settled_by(self, run: Run) -> float:
        """Return when, at the latest, the end of a run was settled unless its owner was killed.

        What froze the owner, or stood between it and the store, delays that.
        """
        if run.ended is None:
            return math.inf
        settled = run.ended + UNSETTLED
        for fault in sorted(self._all(run), key=lambda each: each.began):
            if not fault.kills and fault.began <= settled and _end(fault) + RECONNECT >= run.ended:
                settled = max(settled, _end(fault) + RECONNECT)
        return settled


def _look_at_repeats(verdict: Verdict, index: _FaultIndex, key: Key, runs: list[Run]) -> None:
    runs.sort(key=lambda run: run.began)
    for before, after in pairwise(runs):
        why = _explanation(index, before, after)
        verdict.repeats[why or "unexplained"] += 1
        if not why:
            ended = "never ended" if before.ended is None else f"ended {before.ended:.3f}"
            verdict.unexplained.append(
                f"call {key[0]} run {key[1]}: began {before.began:.3f} in {before.worker}"
                f" (pid {before.pid}), {ended}; began again {after.began:.3f} in {after.worker}"
                f" (pid {after.pid})"
            )


def _explanation(index: _FaultIndex, before: Run, after: Run) -> str:
    settled = index.settled_by(before)
    for fault in index.hitting(before):
        in_flight = fault.began <= settled and _end(fault) + RECONNECT >= before.began
        if in_flight and fault.began <= after.began:
            return fault.name
    for fault in index.hitting(after):
        # It held the claim when it was frozen; meanwhile another ran it.
        if fault.began <= after.began <= _end(fault) + AFTERMATH and not fault.kills:
            return fault.name
    return ""


def _in_flight(record: Record) -> int:
    """Count what ran, or had just ended, on the victims while they were hit."""
    index = _FaultIndex(record.faults)
    return sum(
        any(
            fault.began <= (math.inf if run.ended is None else run.ended + UNSETTLED)
            and _end(fault) >= run.began
            for fault in index.hitting(run)
        )
        for runs in record.runs.values()
        for run in runs
    )


# --- rescue ---------------------------------------------------------------------------------------


def _rescues(record: Record) -> dict[str, Rescue]:
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
    if other.began > again.began or _end(other) + AFTERMATH < fault.began:
        return False
    return other.everywhere or (fault.kills == "executor" and run.worker in other.workers)


# --- the promises ---------------------------------------------------------------------------------


def _broken(verdict: Verdict, record: Record) -> list[str]:
    setup = record.plan.setup
    found = []

    def hold(things: list[str], what: str) -> None:
        if things:
            found.append(f"{len(things)} {what}, such as: " + "; ".join(things[:SHOWN]))

    if setup.at_least_once:
        hold(verdict.lost, "confirmed tasks were lost")
        hold(verdict.unexplained, "runs happened twice without a reason")
        found += _slow_rescues(verdict, setup.lease) if setup.timed else []
    elif verdict.repeats:
        found.append(f"{sum(verdict.repeats.values())} runs happened twice, which must not be")
    hold(verdict.stuck, "tasks are stuck")
    hold(verdict.wrong, "outcomes are wrong")
    hold(verdict.ghosts, "calls ran that the client was told were not sent")
    hold(verdict.premature, "tasks began before their time")
    hold(verdict.gave_up, "workers gave up by themselves")
    hold(verdict.would_not_end, "workers did not end when told to")
    hold(
        [f"{task_id} in {', '.join(places)}" for task_id, places in verdict.leftovers.items()],
        "messages of finished tasks were left in the store",
    )
    if record.hung:
        found.append(f"the client hung {record.hung} times")
    if verdict.waited_wrong and setup.at_least_once:
        found.append(f"clients that waited for results got {dict(record.waited)}")
    return found


def _slow_rescues(verdict: Verdict, lease: float) -> list[str]:
    found = []
    for kind, limit in (("executor", EXECUTOR_LIMIT), ("machine", lease + MACHINE_LIMIT)):
        rescue = verdict.rescues.get(kind)
        if rescue is not None and rescue.clear and quantile(rescue.clear, 0.99) > limit:
            found.append(
                f"rescue after a dead {kind} took {quantile(rescue.clear, 0.99):.2f} s at p99,"
                f" more than {limit:g} s"
            )
    return found
