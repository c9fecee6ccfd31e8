"""``app.schedule``: the entries in the schedule store, to look at and to change while it runs.

Called by users and by ``umbel schedule``. Schedulers notice a change within
``beat_max_loop_interval`` seconds (5 by default). Nothing here waits for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app import periodic, sending
from umbel.app.periodic import PeriodicTask, UnknownEntry
from umbel.clock import Clock, SystemClock
from umbel.errors import OperationalError, UsageError
from umbel.model.schedule_entry import CatchUp, ScheduleChange, Scheduled, ScheduleEntry
from umbel.schedules import to_schedule
from umbel.schedules.rule import Schedule, zone_name, zone_of

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.handles import AsyncResult
    from umbel.ports import ScheduleStore

TRIES = 20
"""How often a change is tried again because somebody else changed the entry meanwhile."""


class Timetable:
    """The schedule of one app, in the store. Any thread may use it.

    Every method raises OperationalError when the store is away, and UsageError (UnknownEntry where
    there is no such entry) for what cannot be done.
    """

    def __init__(self, app: App, clock: Clock | None = None) -> None:
        self._app = app
        self._clock = clock if clock is not None else SystemClock()

    @property
    def _store(self) -> ScheduleStore:
        return self._app.connections.schedule_store

    def list(self) -> Sequence[ScheduleEntry]:
        """Return every entry, by name."""
        entries = self._store.entries()
        return [entries[name].entry for name in sorted(entries)]

    def get(self, name: str) -> ScheduleEntry:
        """Return one entry."""
        return self._find(name).entry

    def next(self, name: str, count: int = 1) -> Sequence[datetime]:
        """Return the next due times of an entry, aware, in its zone; fewer when it ends."""
        entry = self.get(name)
        rule, zone = to_schedule(entry.rule), zone_of(entry.zone)
        times: list[datetime] = []
        due = entry.next_due
        while due is not None and len(times) < count:
            times.append(due.astimezone(zone))
            due = rule.next_after(due, zone)
        return times

    def add(
        self,
        name: str,
        task: str,
        schedule: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        catch_up: CatchUp = "latest",
        deadline: float | None = None,
        jitter: float = 0.0,
        replace: bool = False,
    ) -> ScheduleEntry:
        """Add an entry that the program does not define; return it.

        ``schedule`` is a schedule, seconds, a timedelta, a cron line or an aware datetime.
        Arguments and ``options`` (of ``apply_async``) must be what JSON can hold. ``catch_up``,
        ``deadline`` (seconds) and ``jitter`` (seconds) as in ``beat_schedule``. ``replace``: where
        there is one of that name, change it; else that is an error.
        """
        rule = to_schedule(schedule)
        own_zone = rule.zone
        entry = ScheduleEntry(
            name=name,
            task=task,
            rule=dict(rule.as_dict()),
            zone=zone_name(own_zone if own_zone is not None else self._app.timezone),
            call=periodic.write_call(args, kwargs or {}, options or {}),
            catch_up=periodic.policy(catch_up, f"the entry {name!r}"),
            deadline=deadline,
            jitter=jitter,
        )
        entry = msgspec.structs.replace(entry, next_due=self._first(entry, rule))
        if entry.next_due is None:
            raise UsageError(f"the entry {name!r} would never run: {rule} is past")
        return self._write(name, lambda known: self._merged(known, entry, replace=replace))

    def _merged(
        self, known: ScheduleEntry | None, entry: ScheduleEntry, *, replace: bool
    ) -> ScheduleEntry:
        if known is None:
            return entry
        if known.origin == "program":
            raise UsageError(
                f"the entry {entry.name!r} is defined by the program (beat_schedule or"
                " add_periodic_task); change it there, or choose another name"
            )
        if not replace:
            raise UsageError(f"there is an entry {entry.name!r} already")
        kept = known.next_due if known.rule == entry.rule else entry.next_due
        return msgspec.structs.replace(
            entry,
            next_due=kept,
            paused=known.paused,
            runs=known.runs,
            last_due=known.last_due,
            last_sent=known.last_sent,
        )

    def remove(self, name: str) -> None:
        """Take an entry away. One that the program defines can only be paused."""
        for _ in range(TRIES):
            found = self._find(name)
            if found.entry.origin == "program":
                raise UsageError(
                    f"the entry {name!r} is defined by the program, which would bring it back;"
                    " remove it there, or pause it"
                )
            if self._store.change([ScheduleChange(name, found.revision, None)])[0]:
                return
        raise _contended(name)

    def pause(self, name: str) -> ScheduleEntry:
        """Let an entry rest until it is resumed. What is due meanwhile is not made up for."""
        return self._change(name, lambda entry: msgspec.structs.replace(entry, paused=True))

    def resume(self, name: str) -> ScheduleEntry:
        """Let a paused entry run again, from its next due time on."""

        def resumed(entry: ScheduleEntry) -> ScheduleEntry:
            if not entry.paused:
                return entry
            due = self._first(entry, to_schedule(entry.rule))
            return msgspec.structs.replace(entry, paused=False, next_due=due)

        return self._change(name, resumed)

    def run(self, name: str) -> AsyncResult[Any]:
        """Send an entry's task now, beside its schedule; return its handle."""
        entry = self.get(name)
        program = self._app.periodic.all().get(name)
        what: PeriodicTask = program if program is not None else periodic.read_entry(entry)
        given = {key: value for key, value in what.options.items() if key != "task_id"}
        headers = {"celery_beat_task": True, "periodic_task_name": name}
        given["headers"] = {**(given.get("headers") or {}), **headers}
        return sending.send(self._app.plan_for(what.task), what.args, what.kwargs, given)

    # --- writing ----------------------------------------------------------------------------------

    def _first(self, entry: ScheduleEntry, rule: Schedule) -> datetime | None:
        return rule.next_after(self._clock.now(), zone_of(entry.zone))

    def _find(self, name: str) -> Scheduled:
        entries = self._store.entries()
        found = entries.get(name)
        if found is None:
            known = f"; there are {', '.join(sorted(entries))}" if entries else ""
            raise UnknownEntry(f"the schedule has no entry {name!r}{known}")
        return found

    def _change(self, name: str, change: Callable[[ScheduleEntry], ScheduleEntry]) -> ScheduleEntry:
        def changed(known: ScheduleEntry | None) -> ScheduleEntry:
            return change(known if known is not None else self._find(name).entry)

        return self._write(name, changed)

    def _write(
        self, name: str, make: Callable[[ScheduleEntry | None], ScheduleEntry]
    ) -> ScheduleEntry:
        for _ in range(TRIES):
            known = self._store.entries().get(name)
            entry = make(None if known is None else known.entry)
            revision = 0 if known is None else known.revision
            if self._store.change([ScheduleChange(name, revision, entry)])[0]:
                return entry
        raise _contended(name)


def _contended(name: str) -> OperationalError:
    return OperationalError(
        f"the entry {name!r} was changed by somebody else {TRIES} times in a row; try again"
    )
