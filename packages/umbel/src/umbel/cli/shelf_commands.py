"""``umbel quarantine`` and ``umbel delayed``: what rests in the queues, to be looked at and moved.

They say in words what ``app.quarantine`` and ``app.delayed`` do.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from umbel.app.delayed import DelayedTask
from umbel.app.quarantine import QuarantinedTask
from umbel.app.shelf_entries import ShelvedTask
from umbel.cli.fleet_commands import duration
from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import CommaList, EnvOption

FAILED = 1
SHOWN = 50

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
    _Moment = click.ParamType[datetime]
else:  # click made its types generic late; at run time any release will do
    _Seconds = _Moment = click.ParamType

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class Span(_Seconds):
    """A span of time: seconds, or a number with s, m, h, d or w behind it."""

    name = "SPAN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no span of time such as 90, 10m, 2h or 7d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Moment(_Moment):
    """A time by ISO 8601; without a zone it is UTC, as in ``umbel call --eta``."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time such as 2030-01-31T12:00:00+01:00", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


_FILTERS: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "queues": (("-Q", "--queues"), {"type": CommaList(), "help": "Only these queues."}),
    "task": (
        ("--task",),
        {"type": CommaList(), "help": "Only tasks of these names or patterns (shop.*)."},
    ),
    "error": (
        ("--error",),
        {"type": CommaList(), "help": "Only these classes of exceptions, or patterns (*Error)."},
    ),
    "older_than": (
        ("--older-than",),
        {"type": Span(), "help": "Only what was set aside longer ago: 90, 10m, 2h, 7d."},
    ),
    "due_after": (("--due-after",), {"type": Moment(), "help": "Only what is due then or later."}),
    "due_before": (("--due-before",), {"type": Moment(), "help": "Only what is due before."}),
}
_QUARANTINE = ("queues", "task", "error", "older_than")
_DELAYED = ("queues", "task", "due_after", "due_before")


def _options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            words, attributes = _FILTERS[name]
            function = click.option(*words, name, cls=EnvOption, **attributes)(function)
        return function

    return add


_LIST = (
    click.option(
        "--limit",
        cls=EnvOption,
        type=click.IntRange(min=0),
        default=SHOWN,
        show_default=True,
        help="Show so many; 0: all.",
    ),
    click.option(
        "--skip", cls=EnvOption, type=click.IntRange(min=0), default=0, help="Begin behind so many."
    ),
    click.option("-j", "--json", "as_json", is_flag=True, help="Print a line of JSON for each."),
)
_ACT = (
    click.option("--all", "everything", is_flag=True, help="All there is."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask."),
    click.option("-j", "--json", "as_json", is_flag=True, help="Print the number as JSON."),
)


def _listing(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_LIST):
        function = option(function)
    return common_options(function)


def _acting(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_ACT):
        function = option(function)
    return common_options(click.argument("ids", nargs=-1, metavar="[ID]...")(function))


# --- umbel quarantine -----------------------------------------------------------------------------


@click.group()
@common_options
def quarantine() -> None:
    """Look at what workers set aside; send it again, or drop it.

    \b
    umbel quarantine list --error '*Error'
    umbel quarantine show ID
    umbel quarantine retry --task 'shop.*'
    umbel quarantine discard --older-than 30d --yes
    """


@quarantine.command("list")
@_options(*_QUARANTINE)
@_listing
def list_quarantine(limit: int, skip: int, as_json: bool, **filters: Any) -> int:
    """List what is set aside, the oldest of each queue first."""
    shelf = invocation().load_app().quarantine
    found = shelf.list(**filters, limit=skip + limit + 1 if limit else None)
    return _list(found, limit, skip, as_json=as_json, row=_quarantine_row, what=shelf.what)


@quarantine.command("show")
@click.argument("task_id", metavar="ID")
@_options("queues")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def show_quarantine(task_id: str, queues: tuple[str, ...] | None, as_json: bool) -> int:
    """Show all that is known of one task that is set aside."""
    one = invocation().load_app().quarantine.get(task_id, queues=queues)
    return _show(_document(one), as_json=as_json)


@quarantine.command("retry")
@_options(*_QUARANTINE)
@_acting
def retry_quarantine(ids: tuple[str, ...], **given: Any) -> int:
    """Send tasks back to their queues, as if they had never been tried.

    By ID, by filters, or --all. Their stored failures are forgotten, so that whoever asks for the
    result waits for the new run.
    """
    shelf = invocation().load_app().quarantine
    return _act(ids, given, shelf.count, shelf.retry, "Send", "again", "Sent")


@quarantine.command("discard")
@_options(*_QUARANTINE)
@_acting
def discard_quarantine(ids: tuple[str, ...], **given: Any) -> int:
    """Drop tasks for good: by ID, by filters, or --all. Their stored failures stay."""
    shelf = invocation().load_app().quarantine
    return _act(ids, given, shelf.count, shelf.discard, "Drop", "for good", "Dropped")


# --- umbel delayed --------------------------------------------------------------------------------


@click.group()
@common_options
def delayed() -> None:
    """Look at what rests until its time; cancel it, or give it another time.

    \b
    umbel delayed list --task 'shop.*' --due-before 2030-01-31
    umbel delayed cancel ID
    umbel delayed reschedule ID --countdown 2h
    """


@delayed.command("list")
@_options(*_DELAYED)
@_listing
def list_delayed(limit: int, skip: int, as_json: bool, **filters: Any) -> int:
    """List what rests, the earliest of each queue first."""
    app = invocation().load_app()
    found = app.delayed.list(**filters, limit=skip + limit + 1 if limit else None)
    return _list(found, limit, skip, as_json=as_json, row=_delayed_row, what=app.delayed.what)


@delayed.command("show")
@click.argument("task_id", metavar="ID")
@_options("queues")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def show_delayed(task_id: str, queues: tuple[str, ...] | None, as_json: bool) -> int:
    """Show all that is known of one task that rests."""
    return _show(_document(invocation().load_app().delayed.get(task_id, queues=queues)), as_json)


@delayed.command("cancel")
@_options(*_DELAYED)
@_acting
def cancel_delayed(ids: tuple[str, ...], **given: Any) -> int:
    """Take tasks out of their queues: by ID, by filters, or --all. Their results become REVOKED."""
    app = invocation().load_app()
    return _act(ids, given, app.delayed.count, app.delayed.cancel, "Cancel", "", "Cancelled")


@delayed.command("reschedule")
@click.option("--eta", type=Moment(), help="The new time (ISO 8601).")
@click.option("--countdown", type=Span(), help="The new time, from now: 90, 10m, 2h, 7d; 0.")
@_options(*_DELAYED)
@_acting
def reschedule_delayed(
    ids: tuple[str, ...], eta: datetime | None, countdown: float | None, **given: Any
) -> int:
    """Give tasks another time: by ID, by filters, or --all."""
    if (eta is None) == (countdown is None):
        raise click.UsageError("Give --eta or --countdown, one of them.")
    app = invocation().load_app()

    def reschedule(*words: Any, **options: Any) -> int:
        return app.delayed.reschedule(*words, eta=eta, countdown=countdown, **options)

    return _act(ids, given, app.delayed.count, reschedule, "Reschedule", "", "Rescheduled")


# --- what they share ------------------------------------------------------------------------------


def _list(
    found: Iterator[Any],
    limit: int,
    skip: int,
    *,
    as_json: bool,
    row: Callable[[Any], str],
    what: str,
) -> int:
    there_is_more, shown = False, 0
    for one in itertools.islice(found, skip, None):
        if limit and shown == limit:
            there_is_more = True
            break
        click.echo(json.dumps(_document(one, brief=True)) if as_json else row(one))
        shown += 1
    if invocation().flag("quiet") or as_json:
        return 0
    if there_is_more:
        click.echo(f"There are more: go on with --skip {skip + shown}, or --limit 0.", err=True)
    elif not shown:
        click.echo(f"Nothing{' more' if skip else ''} is {what}.", err=True)
    return 0


def _quarantine_row(one: QuarantinedTask) -> str:
    age = duration((datetime.now(UTC) - one.since).total_seconds())
    why = f"{one.reason} ({one.error})" if one.error else one.reason
    return f"{_name(one)}  {one.queue}  {age} ago  {why}"


def _delayed_row(one: DelayedTask) -> str:
    why = f"  {one.reason}" if one.reason else ""
    kind = "" if one.kind == "delayed" else f"  {one.kind}"
    return f"{_name(one)}  {one.queue}  due {one.due.isoformat(timespec='seconds')}{kind}{why}"


def _name(one: ShelvedTask) -> str:
    return f"{one.task_id or one.key}  {one.task or '(cannot be read)'}"


def _document(one: QuarantinedTask | DelayedTask, *, brief: bool = False) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": one.task_id,
        "key": one.key,
        "task": one.task,
        "queue": one.queue,
        "args": one.args,
        "kwargs": one.kwargs,
        "retries": one.retries,
        "deliveries": one.deliveries,
        "reason": one.reason,
    }
    if isinstance(one, QuarantinedTask):
        document["since"] = one.since.isoformat()
        document.update(error=one.error, worker=one.worker, detail=one.detail)
    else:
        document.update(kind=one.kind, due=one.due.isoformat())
    if not brief:
        document["message"] = one.raw.decode("utf-8", "backslashreplace")
    return document


def _show(document: dict[str, Any], as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(document))
        return 0
    detail = document.pop("detail", None)
    if document["id"] is not None:
        del document["message"]
    for name, value in document.items():
        if value not in (None, ""):
            click.echo(f"{name + ':':<12}{value}")
    if detail:
        click.echo(f"\n{detail.rstrip()}")
    return 0


def _act(
    ids: tuple[str, ...],
    given: dict[str, Any],
    count: Callable[..., int],
    act: Callable[..., int],
    verb: str,
    end: str,
    done: str,
) -> int:
    everything, yes, as_json = (given.pop(name) for name in ("everything", "yes", "as_json"))
    filters = {name: value for name, value in given.items() if value is not None}
    chosen = {name for name in filters if name != "queues"}
    if ids and (chosen or everything):
        raise click.UsageError("Give ids or filters, not both.")
    if everything and chosen:
        raise click.UsageError("--all means all there is: leave it out to act by filters.")
    if not ids and not chosen and not everything:
        raise click.UsageError("Say which: ids, a filter such as --task, or --all.")
    if not ids and not yes:
        number = count(**filters)
        if not number:
            click.echo("Nothing is meant by that." if chosen else "There is nothing.", err=True)
            return 0
        click.confirm(" ".join(f"{verb} {_tasks(number)} {end}".split()) + "?", abort=True)
    moved = act(ids or None, **filters, everything=everything)
    click.echo(json.dumps({"moved": moved}) if as_json else f"{done} {_tasks(moved)}.")
    if moved < len(set(ids)):
        click.echo(f"Error: {len(set(ids)) - moved} of the ids were not there.", err=True)
        return FAILED
    return 0


def _tasks(number: int) -> str:
    return f"{number} task{'' if number == 1 else 's'}"
