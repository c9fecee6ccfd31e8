"""One run: sends the load, makes the faults, waits for quiet, and hands everything to the audit."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torture import faults
from torture.arena import Arena, Gone, Samples
from torture.faults import Fault
from torture.journal import Run
from torture.load import Call, Key
from torture.planning import Plan, PlannedFault, Setup, make_plan
from torture.processes import Sender
from torture.results import Found, Results, open_results

BACKLOG_SECONDS = 15.0
"""Calls that may wait to be run, in seconds of the rate: then the sender pauses."""
UNANSWERED = 100
"""Calls handed to the sender that it has not answered for."""
POSTPONE_MOST = 20.0
"""Seconds after which a fault that finds nobody to hit is given up."""
ASK_AGAIN = 0.02
BETWEEN_FAULTS = 0.3
CLIENT_PATIENCE = 45.0
"""Seconds without an answer after which the client hangs, and a new one takes its place."""
WAIT_EVERY = 50
"""Every so many calls a client waits for the result besides."""


@dataclass(slots=True)
class Sent:
    """What the client said of one call."""

    word: str
    before: float
    after: float


@dataclass(slots=True)
class Record:
    """Everything that was seen in one run."""

    plan: Plan
    sent: dict[int, Sent] = field(default_factory=dict)
    waited: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    """How often the client hung: the call that it was at may have arrived."""
    faults: list[Fault] = field(default_factory=list)
    not_made: list[str] = field(default_factory=list)
    runs: dict[Key, list[Run]] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    traces: dict[str, list[str]] = field(default_factory=dict)
    """Where the tasks without an outcome lie in the store."""
    leftovers: dict[str, list[str]] = field(default_factory=dict)
    """Messages that lie in the store although their task has its outcome."""
    gone: list[Gone] = field(default_factory=list)
    memory: dict[str, Samples] = field(default_factory=dict)
    sizes: list[tuple[float, int]] = field(default_factory=list)
    began: float = 0.0
    calm: float = 0.0
    """When everything had been sent and made whole."""
    ended: float = 0.0


def run(setup: Setup, home: Path, tell: Callable[[str], None]) -> Record:
    """Torture once; what happened is returned, logs and journal stay below ``home``."""
    arena = Arena(setup, home)
    try:
        plan = make_plan(setup, arena.able())
        return _Conductor(arena, plan, tell).run()
    finally:
        arena.close()


class _Conductor:
    """Drives one run."""

    def __init__(self, arena: Arena, plan: Plan, tell: Callable[[str], None]) -> None:
        self._arena = arena
        self._plan = plan
        self._tell = tell
        self._record = Record(plan)
        self._calls = deque(plan.calls)
        self._faults = deque(plan.faults)
        self._next_fault = 0.0
        self._postponed = 0.0
        self._handed = 0
        self._unanswered: deque[Call] = deque()
        self._answered_at = 0.0
        self._housekeeping = 0.0
        self._sizes_at = 0.0
        self._kinds = {call.number: call.kind for call in plan.calls}
        self._plain_confirmed = 0
        self._plain_begun = 0
        self._told = 0.0

    def run(self) -> Record:
        arena, record = self._arena, self._record
        arena.open()
        arena.wait_ready()
        sender = arena.sender()
        try:
            record.began = time.monotonic()
            while not self._all_done(sender):
                time.sleep(0.004)
                sender = self._replace_hung(sender)
            record.calm = time.monotonic()
            arena.calm()
            results = open_results(self._plan.setup.peer, arena.store)
            try:
                self._wait_for_quiet(sender, results)
            finally:
                results.close()
        finally:
            sender.close()
        arena.end_workers()
        record.ended = time.monotonic()
        arena.journal.read()
        self._look_for_leftovers()
        record.runs, record.gone, record.memory = arena.journal.runs, arena.gone, arena.memory
        return record

    # --- while it rages ---------------------------------------------------------------------------

    def _all_done(self, sender: Sender) -> bool:
        self._arena.run_timers()
        self._listen(sender)
        self._keep_house()
        self._send(sender)
        self._strike()
        return (
            not self._calls
            and not self._faults
            and not self._unanswered
            and not self._arena.pending
        )

    def _listen(self, sender: Sender) -> None:
        for words in sender.said():
            if words[0] == "got":
                self._record.waited[words[2]] += 1
            else:
                self._answer(Sent(words[0], float(words[2]), float(words[3])))

    def _answer(self, sent: Sent) -> None:
        """Take in what became of the call that the client was at: it answers in order."""
        call = self._unanswered.popleft()
        self._record.sent[call.number] = sent
        self._plain_confirmed += sent.word == "ok" and call.kind == "plain"
        self._answered_at = time.monotonic()

    def _replace_hung(self, sender: Sender) -> Sender:
        now = time.monotonic()
        if not self._unanswered or now - self._answered_at < CLIENT_PATIENCE:
            return sender
        sender.close()
        self._record.hung += 1
        self._answer(Sent("maybe", self._answered_at, now))
        fresh = self._arena.sender()
        for call in self._unanswered:
            fresh.send(call.words() | {"wait": _waited(call)})
        return fresh

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now < self._housekeeping:
            return
        self._housekeeping = now + 0.2
        self._arena.journal.read()
        self._arena.look_after_workers()
        if now >= self._sizes_at:
            self._sizes_at = now + 1.0
            self._arena.sample_memory()
            if not self._arena.store_disturbed:
                self._record.sizes.append((now, self._arena.store.size()))
        if now >= self._told:
            self._told = now + 10.0
            self._tell(
                f"{now - self._record.began:5.0f} s: {self._handed} calls sent,"
                f" {self._arena.journal.ended} runs ended, {len(self._record.faults)} faults"
            )

    def _send(self, sender: Sender) -> None:
        rate = self._plan.setup.rate
        due = (time.monotonic() - self._record.began) * rate
        while (
            self._calls
            and self._handed < due
            and len(self._unanswered) < UNANSWERED
            and self._backlog() < rate * BACKLOG_SECONDS
        ):
            call = self._calls.popleft()
            self._answered_at = self._answered_at if self._unanswered else time.monotonic()
            self._unanswered.append(call)
            sender.send(call.words() | {"wait": _waited(call)})
            self._handed += 1

    def _backlog(self) -> int:
        """Return how many plain calls wait to be run."""
        fresh = self._arena.journal.fresh
        self._plain_begun += sum(
            1 for number, step in fresh if step == 0 and self._kinds[number] == "plain"
        )
        fresh.clear()
        return self._plain_confirmed - self._plain_begun

    def _strike(self) -> None:
        now = time.monotonic()
        if not self._faults or now < self._next_fault or self._faults[0].at > self._handed:
            return
        planned = self._faults[0]
        self._postponed = self._postponed or now
        fault = faults.make(self._arena, planned)
        if fault is not None:
            self._record.faults.append(fault)
        elif now - self._postponed < POSTPONE_MOST:
            self._next_fault = now + ASK_AGAIN
            return
        else:
            self._record.not_made.append(_name(planned))
        self._faults.popleft()
        self._postponed = 0.0
        self._next_fault = now + BETWEEN_FAULTS

    # --- when it is over --------------------------------------------------------------------------

    def _wait_for_quiet(self, sender: Sender, results: Results) -> None:
        record = self._record
        wanted = {
            outcome.task_id
            for call in self._plan.calls
            if record.sent[call.number].word == "ok"
            for outcome in call.outcomes()
        }
        other = {
            outcome.task_id
            for call in self._plan.calls
            if record.sent[call.number].word == "maybe"
            for outcome in call.outcomes()
        }
        last_news = time.monotonic()
        while True:
            self._arena.run_timers()
            self._arena.journal.read()
            self._arena.look_after_workers()
            self._listen(sender)
            before = len(record.found)
            record.found |= results.final(wanted - record.found.keys())
            if len(record.found) > before:
                last_news = time.monotonic()
            last_news = max(last_news, self._arena.journal.last_news)
            if wanted <= record.found.keys():
                break
            if time.monotonic() - last_news > self._plan.setup.patience:
                break
            time.sleep(0.1)
        # What may or may not have arrived had as much time.
        self._settle_down()
        self._listen(sender)
        record.found |= results.final((wanted | other) - record.found.keys())
        missing = wanted - record.found.keys()
        record.traces = self._arena.store.traces(missing)

    def _settle_down(self) -> None:
        """Wait until nothing has run for a while: repeats of what has its outcome already."""
        deadline = time.monotonic() + self._plan.setup.patience
        calm_for = self._plan.setup.lease + 1.0
        while time.monotonic() < deadline:
            self._arena.journal.read()
            if time.monotonic() - max(self._arena.journal.last_news, self._record.calm) > calm_for:
                return
            time.sleep(0.1)

    def _look_for_leftovers(self) -> None:
        done = {
            outcome.task_id
            for call in self._plan.calls
            for outcome in call.outcomes()
            if outcome.task_id in self._record.found
        }
        self._record.leftovers = self._arena.store.traces(done)


def _waited(call: Call) -> bool:
    return call.number % WAIT_EVERY == 0 and not call.fails and call.expires is None


def _name(planned: PlannedFault) -> str:
    return f"{planned.index} {planned.name}"
