"""``umbel schedule``: the timetable in its store, shown and changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from umbel.app.periodic import POLICIES
from umbel.app.timetable import Timetable
from umbel.cli.fleet_commands import duration
from umbel.cli.invocation import common_options, invocation
from umbel.errors import UsageError
from umbel.model.schedule_entry import ScheduleEntry
from umbel.schedules import Schedule, crontab, once, solar, to_schedule
from umbel.schedules.rule import zone_of


@click.group()
@common_options
def schedule() -> None:
    """Show and change the schedule while schedulers run.

    \b
    umbel schedule -A proj list
    umbel schedule -A proj add cleanup proj.cleanup --cron '0 3 * * *'
    umbel schedule -A proj pause cleanup
    """


def _timetable() -> Timetable:
    return invocation().load_app().schedule


@schedule.command(name="list")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def list_entries(as_json: bool) -> int:
    """Show every entry: when it is due next, and when it ran last."""
    entries = _timetable().list()
    if as_json:
        click.echo(json.dumps([_document(each) for each in entries]))
        return 0
    if not entries:
        click.echo("The schedule has no entries; a scheduler writes the program's when it starts.")
    _print_table(entries)
    return 0


@schedule.command()
@click.argument("name")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def show(name: str, as_json: bool) -> int:
    """Show everything about one entry."""
    document = _document(_timetable().get(name))
    if as_json:
        click.echo(json.dumps(document))
    else:
        width = max(map(len, document))
        for key, value in document.items():
            click.echo(f"{key:<{width}}  {value}")
    return 0


@schedule.command(name="next")
@click.argument("name")
@click.option("-n", "--count", type=click.IntRange(min=1), default=5, help="How many; 5.")
@common_options
def next_times(name: str, count: int) -> int:
    """Show when an entry is due next."""
    for moment in _timetable().next(name, count):
        click.echo(moment.isoformat(sep=" "))
    return 0


@schedule.command()
@click.argument("name")
@click.argument("task")
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Every so many seconds.")
@click.option("--cron", metavar="LINE", help="A cron line, such as '*/5 * * * mon-fri'.")
@click.option("--at", metavar="TIME", help="Once, at this time (ISO 8601).")
@click.option("--solar", "sun", metavar="EVENT,LAT,LON", help="At sunrise, sunset, ... of a place.")
@click.option("--tz", metavar="ZONE", help="Zone of --cron and --at; else the app's.")
@click.option("-a", "--args", metavar="JSON", default="[]", help="Positional arguments: a list.")
@click.option("-k", "--kwargs", metavar="JSON", default="{}", help="Named arguments: an object.")
@click.option(
    "-o", "--options", metavar="JSON", default="{}", help="Options of apply_async: an object."
)
@click.option(
    "--catch-up", type=click.Choice(POLICIES), default="latest", help="What was missed; latest."
)
@click.option("--deadline", type=click.FloatRange(min=0), help="Seconds a run may be late.")
@click.option("--jitter", type=click.FloatRange(min=0), default=0.0, help="Put off by up to this.")
@click.option("--replace", is_flag=True, help="Change the entry if there is one.")
@common_options
def add(name: str, task: str, **given: Any) -> int:
    """Add the entry NAME, which sends TASK."""
    app = invocation().load_app()
    rule = _rule(given, app.timezone)
    entry = app.schedule.add(
        name,
        task,
        rule,
        _json(given["args"], "--args", list),
        _json(given["kwargs"], "--kwargs", dict),
        options=_json(given["options"], "--options", dict),
        catch_up=given["catch_up"],
        deadline=given["deadline"],
        jitter=given["jitter"],
        replace=given["replace"],
    )
    assert entry.next_due is not None
    click.echo(f"{name}: {rule}, next {entry.next_due.astimezone(zone_of(entry.zone))}")
    return 0


@schedule.command()
@click.argument("names", nargs=-1, required=True)
@common_options
def pause(names: tuple[str, ...]) -> int:
    """Let entries rest until they are resumed."""
    for name in names:
        _timetable().pause(name)
        click.echo(f"{name}: paused")
    return 0


@schedule.command()
@click.argument("names", nargs=-1, required=True)
@common_options
def resume(names: tuple[str, ...]) -> int:
    """Let paused entries run again, from their next due time on."""
    for name in names:
        entry = _timetable().resume(name)
        click.echo(f"{name}: next {_when(entry)}")
    return 0


@schedule.command()
@click.argument("name")
@common_options
def run(name: str) -> int:
    """Send an entry's task now, beside its schedule; print the task's id."""
    click.echo(_timetable().run(name).id)
    return 0


@schedule.command()
@click.argument("names", nargs=-1, required=True)
@common_options
def remove(names: tuple[str, ...]) -> int:
    """Take entries away that were added at run time."""
    for name in names:
        _timetable().remove(name)
        click.echo(f"{name}: removed")
    return 0


# --- reading words --------------------------------------------------------------------------------


def _rule(given: dict[str, Any], zone: Any) -> Schedule:
    chosen = [key for key in ("every", "cron", "at", "sun") if given[key] is not None]
    if len(chosen) != 1:
        raise click.UsageError("Say when, by one of --every, --cron, --at and --solar.")
    tz = zone_of(given["tz"]) if given["tz"] else None
    match chosen[0]:
        case "every":
            return to_schedule(given["every"])
        case "cron":
            return crontab.from_string(given["cron"], tz=tz)
        case "at":
            return once(_moment(given["at"], tz or zone))
        case _:
            return _solar(given["sun"])


def _moment(text: str, zone: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-12-31T23:59:00", param_hint="--at"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _solar(text: str) -> Schedule:
    event, *place = (word.strip() for word in text.split(","))
    try:
        lat, lon = map(float, place)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no event and place; write sunset,52.5,13.4", param_hint="--solar"
        ) from None
    return solar(event, lat, lon)


def _json(text: str, option: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint=option) from None
    if not isinstance(value, kind):
        what = "a list" if kind is list else "an object"
        raise click.BadParameter(f"{text} is not {what}", param_hint=option)
    return value


# --- showing --------------------------------------------------------------------------------------


def _document(entry: ScheduleEntry) -> dict[str, Any]:
    def moment(value: datetime | None) -> str | None:
        return None if value is None else value.isoformat()

    return {
        "name": entry.name,
        "task": entry.task,
        "schedule": _said(entry),
        "zone": entry.zone,
        "call": None if entry.call is None else json.loads(entry.call),
        "origin": entry.origin,
        "catch_up": entry.catch_up,
        "deadline": entry.deadline,
        "jitter": entry.jitter,
        "paused": entry.paused,
        "next": moment(entry.next_due),
        "last": moment(entry.last_due),
        "lag": lag_of(entry),
        "runs": entry.runs,
    }


def lag_of(entry: ScheduleEntry) -> float | None:
    """Return by how many seconds its last run was sent late, or is overdue now."""
    now = datetime.now(UTC)
    if entry.next_due is not None and not entry.paused and entry.next_due < now:
        return (now - entry.next_due).total_seconds()
    if entry.last_due is None or entry.last_sent is None:
        return None
    return max(0.0, (entry.last_sent - entry.last_due).total_seconds())


def _said(entry: ScheduleEntry) -> str:
    try:
        return str(to_schedule(entry.rule))
    except UsageError:
        return str(dict(entry.rule))


def _when(entry: ScheduleEntry) -> str:
    if entry.paused:
        return "paused"
    if entry.next_due is None:
        return "never again"
    left = (entry.next_due - datetime.now(UTC)).total_seconds()
    return f"in {duration(left)}" if left >= 0 else f"overdue by {duration(-left)}"


def _print_table(entries: Sequence[ScheduleEntry]) -> None:
    from rich.console import Console  # noqa: PLC0415 - 40 ms that only a reader wants
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    for title in ("name", "task", "schedule", "next", "last", "runs"):
        table.add_column(title, no_wrap=title == "name")
    for each in entries:
        last = "never" if each.last_due is None else each.last_due.isoformat(" ", "seconds")
        table.add_row(each.name, each.task, _said(each), _when(each), last, str(each.runs))
    Console(no_color=invocation().no_color).print(table)
