"""Schedulers in the shape that extensions of Celery subclass, and what lets one run.

``umbel beat -S module:Class`` runs a subclass of ``Scheduler`` (django-celery-beat's, for example)
instead of Umbel's own: it keeps its entries wherever it likes, and sends what is due by the app.
It is one process: nothing here keeps two of them from sending the same run. Umbel's own scheduler
is ``service.Scheduler`` and knows nothing of this module.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from umbel.app.current import app_or_default
from umbel.app.periodic import BeatLazyFunc
from umbel.errors import OperationalError, UmbelError
from umbel.schedules.kinds import maybe_schedule
from umbel.wire.moments import read_moment

if TYPE_CHECKING:
    from umbel.app.app import App

logger = logging.getLogger("umbel.beat")

DEFAULT_MAX_INTERVAL = 300.0
"""Seconds between two looks at the schedule, at most, unless a setting or class says otherwise."""
SYNC_EVERY = 180.0
"""Seconds between two calls of ``sync``, unless a class says otherwise."""


class SchedulingError(UmbelError):
    """A periodic task could not be sent."""


class ScheduleEntry:
    """One periodic task: what to send, by which schedule, and when it was sent last.

    ``next(entry)`` is the entry after one more run, now.
    """

    name: Any = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count = 0
    task: Any = None

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        relative: bool = False,
        app: App | None = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task = task
        self.args = args or ()
        self.kwargs = dict(kwargs or {})
        self.options = dict(options or {})
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """Return now, as the schedule sees it."""
        if self.schedule is not None and hasattr(self.schedule, "now"):
            now: datetime = self.schedule.now()
            return now
        return app_or_default(self.app).now()

    _default_now = default_now

    def _next_instance(self, last_run_at: datetime | None = None) -> Self:
        after = copy.copy(self)
        after.last_run_at = last_run_at or self.default_now()
        after.total_run_count = self.total_run_count + 1
        return after

    def __next__(self) -> Self:
        return self._next_instance()

    next = __next__

    def update(self, other: ScheduleEntry) -> None:
        """Take over what may be edited, and leave what was counted."""
        self.task, self.schedule = other.task, other.schedule
        self.args, self.kwargs, self.options = other.args, other.kwargs, other.options

    def is_due(self) -> Any:
        """Return whether it is due, and in how many seconds to ask again."""
        return self.schedule.is_due(self.last_run_at)

    def editable_fields_equal(self, other: ScheduleEntry) -> bool:
        """Tell whether both send the same by the same schedule."""
        mine = (self.task, self.schedule, self.args, self.kwargs, self.options)
        return mine == (other.task, other.schedule, other.args, other.kwargs, other.options)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleEntry) and self.editable_fields_equal(other)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} {self.task}(*{self.args!r}) {self.schedule}>"


class Scheduler:
    """Entries, and which of them are due. One thread.

    Subclasses override ``setup_schedule``, ``schedule``, ``reserve``, ``sync`` and their like.
    """

    Entry: Any = ScheduleEntry
    schedule: Any
    max_interval: float = DEFAULT_MAX_INTERVAL
    sync_every: float = SYNC_EVERY
    sync_every_tasks: int | None = None
    logger = logger
    producer: Any = None
    """Always None: the app has its own way to the broker."""

    def __init__(
        self,
        app: App,
        schedule: Mapping[str, Any] | None = None,
        max_interval: float | None = None,
        Producer: Any = None,  # noqa: ARG002, N803 - Celery's
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **_: Any,
    ) -> None:
        self.app = app
        self.data: dict[str, Any] = dict(schedule or {})
        settings = app.settings
        self.max_interval = max_interval or settings.beat_max_loop_interval or self.max_interval
        self.sync_every_tasks = sync_every_tasks or settings.beat_sync_every or None
        self._seen: dict[str, Any] | None = None
        self._standing: dict[str, Any] = {}
        self._synced_at: float | None = None
        self._sent_since = 0
        if not lazy:
            self.setup_schedule()

    # --- the entries ------------------------------------------------------------------------------

    def setup_schedule(self) -> None:
        """Fill the schedule. Called once, when the scheduler is made."""
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Any) -> None:
        """Add entries that every schedule has: none, for Umbel's stores forget by themselves."""

    def get_schedule(self) -> Any:
        """Return the entries by name."""
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        """Replace the entries."""
        self.data = schedule

    schedule = property(get_schedule, set_schedule)

    def add(self, **kwargs: Any) -> Any:
        """Add one entry; return it."""
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[entry.name] = entry
        return entry

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**{**entry, "name": name, "app": self.app})

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        """Add entries, or replace those of the same names."""
        self.schedule.update({name: self._maybe_entry(name, each) for name, each in dict_.items()})

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Make the entries those of ``b``; what was counted of known ones stays."""
        schedule = self.schedule
        for name in set(schedule) - set(b):
            schedule.pop(name, None)
        for name, given in b.items():
            entry = self._maybe_entry(name, given)
            if schedule.get(name):
                schedule[name].update(entry)
            else:
                schedule[name] = entry

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """Tell whether both have the same entries."""
        if old_schedules is None or new_schedules is None:
            return old_schedules is new_schedules
        if set(old_schedules) != set(new_schedules):
            return False
        return all(new_schedules[name] == old for name, old in old_schedules.items())

    # --- the loop ---------------------------------------------------------------------------------

    def tick(self) -> float:
        """Send what is due; return the seconds until the next look."""
        schedule = self.schedule
        if self._seen is None or not self.schedules_equal(self._seen, schedule):
            self._seen = dict(schedule)
            self._standing = dict(schedule)
        wait = self.max_interval
        for name, entry in list(self._standing.items()):
            due, again = self.is_due(entry)
            if due:
                self._standing[name] = self.reserve(entry)
                self.apply_entry(entry, producer=self.producer)
            if again is not None:
                wait = min(wait, max(0.0, again))
        return wait

    def is_due(self, entry: Any) -> Any:
        """Return whether an entry is due, and in how many seconds to ask again."""
        return entry.is_due()

    def reserve(self, entry: Any) -> Any:
        """Note that an entry is being sent; return it as it is afterwards."""
        after = self.schedule[entry.name] = next(entry)
        return after

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one entry; what goes wrong is logged. Instrumentation wraps it."""
        logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except OperationalError:
            raise
        except Exception:
            logger.exception("The periodic task %s could not be sent", entry.name)
        else:
            logger.debug("%s sent, id %s", entry.task, getattr(result, "id", None))

    def apply_async(
        self,
        entry: Any,
        producer: Any = None,  # noqa: ARG002 - Celery's signature
        advance: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Send one entry; return the handle. Raises SchedulingError, OperationalError."""
        if advance:
            entry = self.reserve(entry)
        args = [each() if isinstance(each, BeatLazyFunc) else each for each in entry.args or ()]
        named = {
            key: each() if isinstance(each, BeatLazyFunc) else each
            for key, each in (entry.kwargs or {}).items()
        }
        task = self.app.tasks.get(entry.task)
        options = {**entry.options, **kwargs}
        try:
            if task is not None:
                return task.apply_async(args, named, **options)
            return self.send_task(entry.task, args, named, **options)
        except OperationalError:
            raise
        except Exception as error:
            raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {error}") from error
        finally:
            self._sent_since += 1
            if self.should_sync():
                self._do_sync()

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send a task by its name."""
        return self.app.send_task(*args, **kwargs)

    # --- what it remembers ------------------------------------------------------------------------

    def should_sync(self) -> bool:
        """Tell whether it is time to write down what was sent."""
        if self.sync_every_tasks and self._sent_since >= self.sync_every_tasks:
            return True
        return self._synced_at is None or time.monotonic() - self._synced_at > self.sync_every

    def _do_sync(self) -> None:
        try:
            self.sync()
        finally:
            self._synced_at = time.monotonic()
            self._sent_since = 0

    def sync(self) -> None:
        """Write down what was sent. Subclasses that remember override it."""

    def close(self) -> None:
        """End: write down what was sent."""
        self.sync()

    @property
    def info(self) -> str:
        """What to tell people about it."""
        return ""


class PersistentScheduler(Scheduler):
    """Remembers in a file when each entry was sent last, and how often (JSON, replaced whole)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename = str(kwargs.get("schedule_filename") or "celerybeat-schedule")
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        super().setup_schedule()
        try:
            with open(self.schedule_filename, encoding="utf-8") as file:
                known = json.load(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            logger.warning(
                "The file %s cannot be read (%s): every entry counts from now",
                self.schedule_filename,
                error,
            )
            return
        for name, (last, count) in known.items():
            if name in self.schedule:
                self.schedule[name].last_run_at = read_moment(last, "last_run_at")
                self.schedule[name].total_run_count = count

    def sync(self) -> None:
        known = {
            name: (entry.last_run_at.isoformat(), entry.total_run_count)
            for name, entry in self.schedule.items()
        }
        beside = f"{self.schedule_filename}.new"
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(known, file)
        os.replace(beside, self.schedule_filename)

    @property
    def info(self) -> str:
        return f"    . db -> {self.schedule_filename}"


class Service:
    """Runs a scheduler until ``stop``. Any thread, and signal handlers, may stop it."""

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self,
        app: App,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
        told: Callable[[Service], None] = lambda _: None,
    ) -> None:
        """``told`` is called when the loop begins."""
        self.app = app
        self.max_interval = max_interval
        self.schedule_filename = schedule_filename or app.settings.beat_schedule_filename
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self._told = told
        self._stopping = threading.Event()

    @cached_property
    def scheduler(self) -> Any:
        """The scheduler, made when first asked for."""
        return self.get_scheduler()

    def get_scheduler(self, lazy: bool = False, **_: Any) -> Any:
        """Return a new scheduler of the class."""
        return self.scheduler_cls(
            app=self.app,
            schedule_filename=self.schedule_filename,
            max_interval=self.max_interval,
            lazy=lazy,
        )

    def start(self) -> None:
        """Send what is due until ``stop``."""
        scheduler = self.scheduler
        self._told(self)
        pause = 0.5
        try:
            while not self._stopping.is_set():
                try:
                    wait, pause = scheduler.tick(), 0.5
                    if scheduler.should_sync():
                        scheduler._do_sync()
                except OperationalError as error:
                    logger.warning("The scheduler waits for the broker: %s", error)
                    wait, pause = pause, min(2 * pause, 10.0)
                self._stopping.wait(wait)
        finally:
            scheduler.close()

    def sync(self) -> None:
        """Write down what was sent."""
        self.scheduler.sync()

    def stop(self, wait: bool = False) -> None:  # noqa: ARG002 - Celery's
        """Make ``start`` return soon."""
        self._stopping.set()


__all__ = [
    "DEFAULT_MAX_INTERVAL",
    "BeatLazyFunc",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
]
