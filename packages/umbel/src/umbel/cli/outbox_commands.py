"""``umbel outbox``: send what is committed, and show what waits."""

from __future__ import annotations

import json
import signal
import time
from types import FrameType

import click
import msgspec

from umbel.app.app import App
from umbel.cli.fleet_commands import duration
from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import EnvOption, Near
from umbel.cli.work_command import LEVELS
from umbel.errors import ImproperlyConfigured
from umbel.outbox import table as tables
from umbel.outbox.database import OutboxDatabase
from umbel.outbox.relay import Relay, open_outbox

SHOWN = 20
FAILED = 1


@click.group()
@common_options
def outbox() -> None:
    """Look after the outbox: tasks sent by delay_tx that rest in your own database.

    \b
    umbel outbox status                 what waits, and what cannot be sent
    umbel outbox relay                  send it, without a worker
    umbel outbox sql --for mysql        the statement that makes the table
    """


@outbox.command()
@click.option(
    "-l", "--loglevel", cls=EnvOption, type=Near(LEVELS, "LEVEL"), help=f"{', '.join(LEVELS)}."
)
@click.option("-f", "--logfile", cls=EnvOption, metavar="PATH", help="Log file.")
@click.option("--once", is_flag=True, help="Send what is there now, and end.")
@common_options
def relay(loglevel: str | None, logfile: str | None, once: bool) -> int:
    """Send what is committed to the outbox, until SIGTERM.

    Workers do it too, unless outbox_relay is false. Any number may run: each row is taken by one.
    """
    app = invocation().load_app()
    database = _outbox(app)
    settings = app.settings
    running = Relay(
        database,
        app.connections.sending_broker,
        poll=settings.outbox_poll_interval,
        publish_timeout=settings.broker_publish_timeout,
    )
    app.log.setup(loglevel or "INFO", logfile)
    try:
        if once:
            while running.step():
                pass
            click.echo(f"Sent {running.sent} task{'' if running.sent == 1 else 's'}.")
            return FAILED if database.status(1).faulty else 0

        def stop(_number: int, _frame: FrameType | None) -> None:
            running.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        database.status(0)  # whoever starts it is told at once what is wrong
        if not invocation().flag("quiet"):
            click.echo(f"umbel outbox relay: {database.place}, table {database.table}")
        running.run()
    finally:
        running.close()
        app.close()
    return 0


@outbox.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def status(as_json: bool) -> int:
    """Show what waits in the outbox. Exit code 1 when something there cannot be sent."""
    app = invocation().load_app()
    database = _outbox(app)
    try:
        found = database.status(SHOWN)
    finally:
        database.close()
    age = None if found.oldest is None else max(0.0, time.time() - found.oldest)
    if as_json:
        told = {
            "place": database.place,
            "table": database.table,
            "waiting": found.waiting,
            "oldest": age,
            "faulty": msgspec.to_builtins(found.faulty),
        }
        click.echo(json.dumps(told))
        return FAILED if found.faulty else 0
    since = "" if age is None else f", the oldest for {duration(age)}"
    click.echo(f"{database.place}, table {database.table}: {found.waiting} waiting{since}")
    for each in found.faulty:
        click.echo(f"  {each.task_id} {each.task} for queue {each.queue}: {each.fault}")
    return FAILED if found.faulty else 0


@outbox.command()
@click.option(
    "--for",
    "database",
    type=Near(tables.DATABASES, "DATABASE"),
    help=f"One of {', '.join(tables.DATABASES)}; mysql is MariaDB too. That of outbox_url.",
)
@common_options
def sql(database: str | None) -> int:
    """Print the statement that makes the table, for migrations of your own."""
    app = invocation().load_app()
    chosen = database or _outbox(app).database
    click.echo(f"{tables.creation(chosen, app.settings.outbox_table)};")
    return 0


def _outbox(app: App) -> OutboxDatabase:
    found = open_outbox(app.settings)
    if found is None:
        raise ImproperlyConfigured(
            "There is no outbox: set outbox_url to the URL of your application's database, such "
            "as postgresql://user@host/shop, mysql+pymysql://... or sqlite:///shop.db"
        )
    return found
