"""The schedule entries that a program defines, and the messages they send.

``beat_schedule`` and ``app.add_periodic_task`` define entries here; the scheduler (``umbel.beat``)
asks for them and for the messages of what is due, ``app.timetable`` for those of entries that were
added at run time. Nothing is sent here.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, cast

import msgspec

from umbel.app import sending
from umbel.errors import EncodeError, ImproperlyConfigured, UmbelError, UsageError
from umbel.model.schedule_entry import CatchUp, ScheduleEntry
from umbel.schedules import Schedule, crontab, to_schedule
from umbel.schedules.rule import zone_name
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.send_plan import Call
    from umbel.model.queues import Outgoing

logger = logging.getLogger("umbel.beat")

KEYS = (
    *("task", "schedule", "args", "kwargs", "options", "relative"),
    *("catch_up", "deadline", "jitter"),
)
"""What an entry of ``beat_schedule`` may say. The last three are Umbel's own."""
POLICIES = ("skip", "latest", "all")
_JSON = SERIALIZERS.get("json")


class PeriodicTask(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as the program means it. Arguments may be any values, lazy ones as well."""

    name: str
    task: str
    schedule: Schedule
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    catch_up: CatchUp = "latest"
    deadline: float | None = None
    jitter: float = 0.0

    def entry(self, zone: tzinfo) -> ScheduleEntry:
        """Return what a store remembers of it before it ever ran."""
        own = self.schedule.zone
        return ScheduleEntry(
            name=self.name,
            task=self.task,
            rule=dict(self.schedule.as_dict()),
            zone=zone_name(own if own is not None else zone),
            call=self._call(),
            origin="program",
            catch_up=self.catch_up,
            deadline=self.deadline,
            jitter=self.jitter,
        )

    def _call(self) -> str | None:
        try:
            return write_call(self.args, self.kwargs, self.options)
        except EncodeError:
            return None  # values that only this program can write, in its own serializer


class BeatLazyFunc:
    """An argument that is computed when the entry is sent: ``BeatLazyFunc(f, *args, **kwargs)``."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func, self._args, self._kwargs = func, args, kwargs

    def __call__(self) -> Any:
        return self._func(*self._args, **self._kwargs)

    delay = __call__


class PeriodicTasks:
    """The periodic tasks of one app. Configure them before a scheduler runs."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._added: dict[str, PeriodicTask] = {}

    def add(
        self,
        schedule: object,
        sig: Mapping[str, Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Add an entry; what ``app.add_periodic_task`` does. Returns its name."""
        if not sig.get("task"):
            raise UsageError(f"add_periodic_task wants a signature, such as task.s(), not {sig!r}")
        key = name or repr(sig)
        if key in self._added:
            logger.warning(
                "Periodic task %s was added twice; the second takes the first one's place."
                " Give them names: add_periodic_task(..., name=...)",
                key,
            )
        own = {word: options.pop(word) for word in KEYS[6:] if word in options}
        definition = {
            "task": sig["task"],
            "schedule": schedule,
            "args": (*args, *sig.get("args", ())),
            "kwargs": {**sig.get("kwargs", {}), **(kwargs or {})},
            "options": {**sig.get("options", {}), **options},
            **own,
        }
        self._added[key] = self._read(key, definition, "add_periodic_task")
        return key

    def all(self) -> Mapping[str, PeriodicTask]:
        """Return every entry of the program. Raises ImproperlyConfigured naming what is wrong."""
        self._app.finalize(auto=True)  # receivers of on_after_finalize may add entries
        given = self._app.settings.beat_schedule
        found = {name: self._read(name, each, "beat_schedule") for name, each in given.items()}
        return {**found, **self._added}

    def _read(self, name: str, definition: Any, where: str) -> PeriodicTask:
        what = f"{where}: the entry {name!r}"
        if not isinstance(definition, Mapping):
            raise ImproperlyConfigured(f"{what} is {definition!r}, which is no mapping")
        for key in definition:
            if key not in KEYS:
                near = difflib.get_close_matches(str(key), KEYS, n=1)
                hint = (
                    f"; did you mean {near[0]!r}?" if near else f"; it may have {', '.join(KEYS)}"
                )
                raise ImproperlyConfigured(f"{what} has the unknown key {key!r}{hint}")
        for key in ("task", "schedule"):
            if not definition.get(key):
                raise ImproperlyConfigured(f"{what} has no {key!r}")
        try:
            rule = to_schedule(
                definition["schedule"], relative=bool(definition.get("relative", False))
            )
        except UsageError as error:
            raise ImproperlyConfigured(f"{what}: {error}") from error
        deadline = definition.get("deadline")
        if deadline is None and isinstance(rule, crontab):
            deadline = self._app.settings.beat_cron_starting_deadline
        return PeriodicTask(
            name=name,
            task=str(getattr(definition["task"], "name", definition["task"])),
            schedule=rule,
            args=tuple(definition.get("args") or ()),
            kwargs=dict(definition.get("kwargs") or {}),
            options=dict(definition.get("options") or {}),
            catch_up=policy(definition.get("catch_up", "latest"), what),
            deadline=_seconds(deadline, f"{what}: deadline"),
            jitter=_seconds(definition.get("jitter", 0.0), f"{what}: jitter") or 0.0,
        )


# --- messages -------------------------------------------------------------------------------------


def prepare(
    app: App, periodic: PeriodicTask, *, task_id: str, due: datetime, put_off: float = 0.0
) -> Call:
    """Return the call for the run that is due then. Raises UmbelError for what cannot be sent.

    Its headers are those that Celery's beat writes (``celery_beat_task``), with the entry's name
    and the due time. ``put_off`` seconds are added to its countdown.
    """
    given = dict(periodic.options)
    headers = {
        "celery_beat_task": True,
        "periodic_task_name": periodic.name,
        "scheduled_for": due.isoformat(),
    }
    given["headers"] = {**(given.get("headers") or {}), **headers}
    given.setdefault("task_id", task_id)
    if put_off > 0 and given.get("eta") is None:
        given["countdown"] = (given.get("countdown") or 0.0) + put_off
    args = [_evaluated(each) for each in periodic.args]
    kwargs = {key: _evaluated(each) for key, each in periodic.kwargs.items()}
    return app.plan_for(periodic.task).prepare(args, kwargs, given)


def encoded(app: App, call: Call) -> Outgoing:
    """Return the call as a message, through the app's middleware and signals."""
    made: list[Outgoing] = []
    if app.middleware:
        sending.through(app, call, lambda app, call: made.append(sending.told_before(app, call)))
    else:
        made.append(sending.told_before(app, call))
    if not made:
        raise UsageError(f"a middleware of the app did not let {call.message.task} be sent")
    return made[0]


def _evaluated(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value


# --- as text --------------------------------------------------------------------------------------


def write_call(args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return a call as a store keeps it. Raises EncodeError for values that JSON cannot hold."""
    document = {"args": list(args), "kwargs": dict(kwargs), "options": dict(options)}
    return _JSON.dumps(document).decode()


def read_entry(entry: ScheduleEntry) -> PeriodicTask:
    """Return what a stored entry means. Raises UmbelError where it cannot be read."""
    if entry.call is None:
        raise UsageError(
            f"the arguments of {entry.name!r} are known only to the program that defines it"
        )
    call = _JSON.loads(entry.call.encode())
    return PeriodicTask(
        name=entry.name,
        task=entry.task,
        schedule=to_schedule(entry.rule),
        args=tuple(call["args"]),
        kwargs=call["kwargs"],
        options=call["options"],
        catch_up=entry.catch_up,
        deadline=entry.deadline,
        jitter=entry.jitter,
    )


def policy(given: object, what: str) -> CatchUp:
    """Return the catch-up policy, checked. Raises ImproperlyConfigured naming ``what``."""
    if given not in POLICIES:
        raise ImproperlyConfigured(
            f"{what}: catch_up is one of {', '.join(POLICIES)}, not {given!r}"
        )
    return cast(CatchUp, given)


def _seconds(given: object, what: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
        raise ImproperlyConfigured(f"{what} is {given!r}; give seconds, 0 or more")
    return float(given)


class UnknownEntry(UsageError, KeyError):
    """The timetable has no entry of that name."""

    __str__ = Exception.__str__


__all__ = ["BeatLazyFunc", "PeriodicTask", "PeriodicTasks", "UmbelError", "UnknownEntry"]
