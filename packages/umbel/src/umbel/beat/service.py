"""The loop that sends what is due, as ``umbel beat`` and ``umbel worker -B`` run it.

Any number may run on one timetable: whoever changes an entry in the store first has sent its run,
in the same atomic step where the store holds the queues too. Where it does not, a run is claimed,
sent under an id that every scheduler would give it, and then noted: a scheduler that dies in
between has it sent again under that id.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from umbel.app import periodic, sending
from umbel.app.app import App
from umbel.app.periodic import PeriodicTask
from umbel.app.send_plan import Call
from umbel.beat import turns
from umbel.clock import Clock, SystemClock
from umbel.errors import OperationalError, UmbelError
from umbel.model.queues import Outgoing
from umbel.model.schedule_entry import ScheduleChange, Scheduled, ScheduleEntry
from umbel.ports import ScheduleStore
from umbel.schedules import Schedule, to_schedule

logger = logging.getLogger("umbel.beat")

LOOK_EVERY = 5.0
"""Seconds after which a scheduler with nothing to do looks for changes made by others."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between tries while the store is away."""
CLAIM = 30.0
"""Seconds a claimed run may take to be sent, where store and broker are two."""


class _Sent(msgspec.Struct, frozen=True):
    """A step on its way: what the store is asked to change, and the calls in it."""

    change: ScheduleChange
    calls: tuple[tuple[Call, Outgoing], ...]
    missed: int


class Scheduler:
    """One scheduler. ``run`` belongs to one thread; any thread and signal handlers may ``stop``."""

    def __init__(
        self,
        app: App,
        *,
        clock: Clock | None = None,
        max_interval: float | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``max_interval``: the longest sleep in seconds. ``told`` hears of each name sent."""
        self._app = app
        self._clock = clock if clock is not None else SystemClock()
        self._max_interval = max_interval or app.settings.beat_max_loop_interval or LOOK_EVERY
        self._told = told
        self._owner = uuid.uuid4().hex
        self._program: Mapping[str, PeriodicTask] = {}
        self._rules: dict[str, tuple[object, Schedule]] = {}
        self._entries: dict[str, Scheduled] = {}
        self._version: int | None = None
        self._synced = False
        self._stopping = threading.Event()
        self._refused: set[str] = set()

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Send what is due until ``stop``. Raises ImproperlyConfigured for a wrong schedule."""
        self.read_program()
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                wait = self.tick()
                pause = FIRST_PAUSE
            except OperationalError as error:
                logger.warning("The schedule waits for its store: %s", error)
                self._version = None
                wait, pause = pause, min(2 * pause, LONGEST_PAUSE)
            self._stopping.wait(wait)

    def stop(self) -> None:
        """Make ``run`` return soon. Any thread, and signal handlers."""
        self._stopping.set()

    def read_program(self) -> None:
        """Take the program's entries. Raises ImproperlyConfigured naming what is wrong."""
        self._program = self._app.periodic.all()
        self._synced = False

    @property
    def entries(self) -> Mapping[str, ScheduleEntry]:
        """The entries as this scheduler saw them last."""
        return {name: each.entry for name, each in self._entries.items()}

    def tick(self) -> float:
        """Send what is due; return the seconds until the next look. Raises OperationalError."""
        store = self._app.connections.schedule_store
        if not self._synced:
            self._synchronize(store)
        else:
            self._look(store)
        now = self._clock.now()
        steps = [step for each in self._entries.values() if (step := self._step(each, now))]
        if not steps:
            return self._until_next(now)
        if self._app.connections.schedule_store_sends:
            self._make(store, steps)
        else:
            for step in steps:
                self._make_apart(store, step, now)
        return 0.0 if self._version is None else self._until_next(self._clock.now())

    def _until_next(self, now: datetime) -> float:
        due = [
            each.entry.next_due
            for each in self._entries.values()
            if each.entry.next_due is not None and not each.entry.paused
        ]
        if not due:
            return self._max_interval
        return min(self._max_interval, max(0.0, (min(due) - now).total_seconds()))

    # --- what the store holds ---------------------------------------------------------------------

    def _look(self, store: ScheduleStore) -> None:
        """Read the entries again if somebody changed one."""
        version = store.version()
        if version != self._version:
            self._entries = dict(store.entries())
            self._version = version

    def _synchronize(self, store: ScheduleStore) -> None:
        """Make the store hold what the program defines, and no more of the program's."""
        version = store.version()
        entries = store.entries()
        now = self._clock.now()
        changes = [
            change
            for each in self._program.values()
            if (change := self._definition(each, entries.get(each.name), now)) is not None
        ]
        changes += [
            ScheduleChange(name, known.revision, None)
            for name, known in entries.items()
            if known.entry.origin == "program" and name not in self._program
        ]
        if changes and not all(store.change(changes)):
            return self._synchronize(store)  # another scheduler was at it; each pass gets further
        self._synced = True
        self._version = None if changes else version
        self._entries = dict(entries)
        if changes:
            self._look(store)
        return None

    def _definition(
        self, periodic_task: PeriodicTask, known: Scheduled | None, now: datetime
    ) -> ScheduleChange | None:
        entry = periodic_task.entry(self._app.timezone)
        if known is None:
            due = turns.first_due(entry, periodic_task.schedule, now)
            return ScheduleChange(entry.name, 0, msgspec.structs.replace(entry, next_due=due))
        old = known.entry
        kept = msgspec.structs.replace(
            entry,
            paused=old.paused,
            next_due=old.next_due,
            last_due=old.last_due,
            last_sent=old.last_sent,
            runs=old.runs,
            claimed_by=old.claimed_by,
            claimed_until=old.claimed_until,
        )
        if kept == old:
            return None
        if (entry.rule, entry.zone) != (old.rule, old.zone) or old.origin != "program":
            due = turns.first_due(entry, periodic_task.schedule, now)
            kept = msgspec.structs.replace(kept, next_due=due)
        return ScheduleChange(entry.name, known.revision, kept)

    # --- one step ---------------------------------------------------------------------------------

    def _step(self, known: Scheduled, now: datetime) -> _Sent | None:
        entry = known.entry
        if entry.next_due is None or entry.next_due > now or entry.paused:
            return None
        task = self._periodic_task(entry)
        if task is None or turns.is_claimed(entry, self._owner, now):
            return None
        step = turns.turn(entry, self._rule(entry, task), now)
        if step is None:
            return None
        calls = tuple(
            made for due in step.runs if (made := self._message(task, entry, due)) is not None
        )
        change = ScheduleChange(
            entry.name,
            known.revision,
            turns.stepped(entry, step, now),
            tuple(outgoing for _, outgoing in calls),
        )
        return _Sent(change, calls, step.missed)

    def _periodic_task(self, entry: ScheduleEntry) -> PeriodicTask | None:
        """What the entry means; None where another program defines it, or nobody can read it."""
        if entry.origin == "program":
            return self._program.get(entry.name)
        try:
            return periodic.read_entry(entry)
        except UmbelError as error:
            if entry.name not in self._refused:
                self._refused.add(entry.name)
                logger.error("The schedule entry %s cannot be read: %s", entry.name, error)
            return None

    def _rule(self, entry: ScheduleEntry, task: PeriodicTask) -> Schedule:
        if entry.origin == "program":
            return task.schedule
        known = self._rules.get(entry.name)
        if known is None or known[0] != entry.rule:
            known = self._rules[entry.name] = entry.rule, to_schedule(entry.rule)
        return known[1]

    def _message(
        self, task: PeriodicTask, entry: ScheduleEntry, due: datetime
    ) -> tuple[Call, Outgoing] | None:
        task_id = turns.task_id_of(self._app.connections.timetable, entry.name, due)
        try:
            call = periodic.prepare(
                self._app, task, task_id=task_id, due=due, put_off=turns.put_off(entry, due)
            )
            return call, periodic.encoded(self._app, call)
        except Exception:  # a receiver, a lazy argument, an option: none may stop the others
            logger.exception("Scheduler: %s cannot be sent; its run is passed over", entry.name)
            return None

    def _make(self, store: ScheduleStore, steps: list[_Sent]) -> None:
        """Make these steps; what they send is sent by the store."""
        made = store.change([step.change for step in steps])
        self._version = None
        for step, done in zip(steps, made, strict=True):
            if done:
                self._tell(step)
        self._look(store)

    def _make_apart(self, store: ScheduleStore, step: _Sent, now: datetime) -> None:
        """Claim a step, send its messages, and note that they were sent."""
        name = step.change.name
        self._version = None
        entry = turns.claimed(self._entries[name].entry, self._owner, now, CLAIM)
        if not store.change([ScheduleChange(name, step.change.revision, entry)])[0]:
            return self._look(store)
        if step.calls:
            outgoing = tuple(each for _, each in step.calls)
            self._app.publishing.publish(outgoing, timeout=None, policy=None)
        claimed = store.entries().get(name)
        if claimed is not None and claimed.entry.claimed_by == self._owner:
            store.change([ScheduleChange(name, claimed.revision, step.change.entry)])
        self._tell(step)
        return self._look(store)

    def _tell(self, step: _Sent) -> None:
        for call, outgoing in step.calls:
            logger.info(
                "Scheduler: sent %s (%s), id %s",
                step.change.name,
                call.message.task,
                call.message.id,
            )
            sending.tell_after(self._app, call.message, outgoing)
            self._told(step.change.name)
        if step.missed:
            logger.warning(
                "Scheduler: %s was due and is passed over: it is too late for it", step.change.name
            )
