"""``umbel events``: what workers tell, as a screen, as lines, or through a camera."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import EnvOption
from umbel.errors import OperationalError
from umbel.monitoring.cluster_state import State, Task
from umbel.monitoring.receiver import EventReceiver
from umbel.monitoring.snapshot import Polaroid

if TYPE_CHECKING:
    from rich.console import Group

    from umbel.app.app import App

AGAIN = 1.0
"""Seconds before a lost broker is tried again."""
ROWS = 20
_HIDDEN = frozenset(
    {"hostname", "timestamp", "type", "local_received", "pid", "clock", "utcoffset"}
)


@click.command()
@click.option("-d", "--dump", is_flag=True, help="Print a line for each event.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print each event as JSON.")
@click.option(
    "-c", "--camera", cls=EnvOption, metavar="CLASS", help="Take pictures: module.Class of yours."
)
@click.option(
    "-F",
    "--frequency",
    "--freq",
    "frequency",
    cls=EnvOption,
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Seconds between pictures, or between drawings of the screen.",
)
@click.option(
    "-r", "--maxrate", cls=EnvOption, metavar="RATE", help="Most pictures: 10/s, 10/m, 10/h."
)
@common_options
def events(
    *, dump: bool, as_json: bool, camera: str | None, frequency: float, maxrate: str | None
) -> int:
    """Show what workers and tasks do, as it happens. Ends with Ctrl-C.

    \b
    umbel events -A proj                        a screen
    umbel events -A proj --dump                 a line for each event
    umbel events -A proj -c proj.Camera -F 10   a picture every ten seconds

    Workers tell of their tasks when they run with -E, or after `umbel control enable_events`.
    Where the output is no terminal, lines are printed.
    """
    app = invocation().load_app()
    try:
        if camera is not None:
            return _photograph(app, camera, frequency, _rate(maxrate))
        if dump or as_json or not sys.stdout.isatty():
            return _dump(app, as_json=as_json)
        return _screen(app, frequency)
    except KeyboardInterrupt:
        return 0


def _listen(app: App, each: Any, every: float, between: Any) -> None:
    """Give events to ``each`` and call ``between`` every so many seconds; for ever."""
    while True:
        receiver: EventReceiver = app.events.Receiver()
        try:
            receiver.wakeup_workers()
            while True:
                for event in receiver.receive(every):
                    each(event)
                between()
        except OperationalError as error:
            click.echo(f"{error} Trying again.", err=True)
            time.sleep(AGAIN)
        finally:
            receiver.close()


# --- lines ----------------------------------------------------------------------------------------


def _dump(app: App, *, as_json: bool) -> int:
    names: dict[str, str] = {}
    if not as_json:
        click.echo("Listening for events; Ctrl-C ends it.", err=True)

    def show(event: dict[str, Any]) -> None:
        click.echo(json.dumps(event, default=str) if as_json else line_of(event, names))

    _listen(app, show, 1.0, sys.stdout.flush)
    return 0


def line_of(event: dict[str, Any], names: dict[str, str]) -> str:
    """Return one event as a line. ``names``: of the tasks met so far, by id; it grows."""
    moment = datetime.fromtimestamp(float(event.get("timestamp") or 0), UTC).isoformat()
    about = ""
    task_id = event.get("uuid")
    if task_id is not None:
        if event.get("name"):
            names[task_id] = str(event["name"])
            while len(names) > 10_000:
                del names[next(iter(names))]
        about = f" {names.get(task_id, '?')}[{task_id}]"
    fields = " ".join(
        f"{name}={value!r}"
        for name, value in event.items()
        if name not in _HIDDEN and name not in ("uuid", "name", "traceback") and value is not None
    )
    return f"{moment} {event.get('hostname')} {event['type']}{about} {fields}".rstrip()


# --- pictures -------------------------------------------------------------------------------------


def _photograph(app: App, name: str, frequency: float, maxrate: float | None) -> int:
    kind = _camera(name)
    state = app.events.State()
    camera = kind(state, freq=frequency, maxrate=maxrate, app=app)
    click.echo(f"Taking pictures with {name}; Ctrl-C ends it.", err=True)
    _listen(app, state.event, min(frequency, 1.0), lambda: camera.run_due(time.monotonic()))
    return 0


def _camera(name: str) -> type[Polaroid]:
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(
            f"there is no class {name!r}: {error}", param_hint="--camera"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Polaroid)):
        raise click.BadParameter(
            f"{name} is no camera: derive a class from umbel.monitoring.snapshot.Polaroid",
            param_hint="--camera",
        )
    return kind


def _rate(word: str | None) -> float | None:
    """Read ``10/m`` as pictures a second."""
    if word is None:
        return None
    number, _, unit = word.partition("/")
    try:
        return float(number) / {"": 1, "s": 1, "m": 60, "h": 3600}[unit]
    except (ValueError, KeyError):
        raise click.BadParameter(f"{word!r} is no rate: 10, 10/s, 10/m or 10/h") from None


# --- the screen -----------------------------------------------------------------------------------


def _screen(app: App, frequency: float) -> int:
    from rich.console import Console  # noqa: PLC0415 - 40 ms that only a terminal's reader wants
    from rich.live import Live  # noqa: PLC0415 - as above

    state: State = app.events.State()
    console = Console(no_color=invocation().no_color)
    with Live(drawn(state), console=console, screen=True, auto_refresh=False) as live:
        _listen(
            app,
            state.event,
            min(frequency, 1.0),
            lambda: live.update(drawn(state), refresh=True),
        )
    return 0


def drawn(state: State) -> Group:
    """Return the screen: workers above, the latest tasks below."""
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    workers = Table(title="workers", expand=True)
    for title in ("node", "", "busy", "done", "load", "version"):
        workers.add_column(title)
    for name, worker in sorted(state.workers.items()):
        load = " ".join(f"{one:.2f}" for one in worker.loadavg or ())
        online = "[green]ONLINE[/]" if worker.alive else "[red]OFFLINE[/]"
        version = f"{worker.sw_ident or ''} {worker.sw_ver or ''}"
        busy, done = _known(worker.active), _known(worker.processed)
        workers.add_row(escape(name), online, busy, done, load, escape(version))
    tasks = Table(title=_title(state), expand=True)
    for title in ("id", "task", "worker", "when", "state", "took", "result"):
        tasks.add_column(title, no_wrap=True, overflow="ellipsis")
    for task_id, task in state.tasks_by_time(limit=ROWS):
        tasks.add_row(*map(escape, _row(task_id, task)))
    return Group(workers, tasks)


def _row(task_id: str, task: Task) -> tuple[str, ...]:
    moment = ""
    if task.timestamp is not None:
        moment = f"{datetime.fromtimestamp(task.timestamp, UTC).astimezone():%H:%M:%S}"
    took = "" if task.runtime is None else f"{float(task.runtime):.3f} s"
    end = task.result if task.exception is None else task.exception
    where = "" if task.worker is None else task.worker.hostname
    return task_id, task.name or "?", where, moment, task.state, took, str(end or "")


def _title(state: State) -> str:
    counts = Counter(task.state for task in state.tasks.values())
    parts = [f"{count} {name.lower()}" for name, count in sorted(counts.items())]
    return f"tasks: {', '.join(parts) or 'none heard of yet'}"


def _known(value: object) -> str:
    return "?" if value is None else str(value)
