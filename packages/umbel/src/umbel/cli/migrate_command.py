"""``umbel migrate``: show and apply what the tables of a store lack."""

from __future__ import annotations

import click

from umbel.app.app import App
from umbel.cli.invocation import common_options, invocation
from umbel.errors import NoResultBackend
from umbel.model.migrations import MigrationStep
from umbel.outbox.database import OutboxMigrator
from umbel.outbox.relay import open_outbox
from umbel.ports import Migrator

FAILED = 1
PHASES = ("pre", "post")


@click.command()
@click.option(
    "--check",
    is_flag=True,
    help="Change nothing; exit with 1 if this release cannot work with the tables as they are.",
)
@click.option(
    "--phase",
    type=click.Choice(["pre", "post", "all"]),
    default="all",
    show_default=True,
    help="pre: what the release before this one can live with; apply it before the new code is "
    "started. post: what it may not; apply it when the last old process has ended.",
)
@common_options
def migrate(check: bool, phase: str) -> int:
    """Show the steps that tables of the broker, the results and the outbox need; apply them.

    Steps are numbered, and those of one call are applied all or not at all. Tables that a newer
    release has changed are refused.
    """
    app = invocation().load_app()
    migrators = _migrators(app)
    if not migrators:
        click.echo(
            "Nothing to do: neither the broker nor the result backend has tables to keep, and "
            "there is no outbox."
        )
        return 0
    faults = 0
    for each in migrators:
        click.echo(f"{each.place}:")
        if check:
            faults += _look(each)
        else:
            _apply(each, PHASES if phase == "all" else (phase,))
    return FAILED if faults else 0


def _migrators(app: App) -> list[Migrator]:
    stores = [app.broker.migrator(), app.connections.sending_broker.migrator()]
    try:
        stores.append(app.result_backend.migrator())
    except NoResultBackend:
        pass
    outbox = open_outbox(app.settings)
    if outbox is not None:
        stores.append(OutboxMigrator(outbox))
    return list({each.place: each for each in stores if each is not None}.values())


def _look(migrator: Migrator) -> bool:
    for step in migrator.steps():
        click.echo(_line(step))
    fault = migrator.fault()
    if fault is not None:
        click.echo(f"Error: {fault}.", err=True)
    return fault is not None


def _apply(migrator: Migrator, phases: tuple[str, ...]) -> None:
    done = {step.number for step in migrator.apply(phases)}
    for step in migrator.steps():
        click.echo(_line(step, now=step.number in done))
    if not done:
        click.echo("  nothing to apply")


def _line(step: MigrationStep, *, now: bool = False) -> str:
    if now:
        when = "applied now"
    elif step.at is None:
        when = "applied" if step.applied else "pending"
    else:
        when = f"applied {step.at:%Y-%m-%d %H:%M} UTC"
    return f"  {step.number:04} {step.phase:4} {step.name.replace('_', ' ')}: {when}"
