"""``umbel purge``: delete what waits in queues."""

from __future__ import annotations

import difflib

import click

from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import CommaList, EnvOption


@click.command()
@click.option("-f", "--force", cls=EnvOption, is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", cls=EnvOption, type=CommaList(), help="Only these queues.")
@click.option("-X", "--exclude-queues", cls=EnvOption, type=CommaList(), help="Not these queues.")
@common_options
def purge(
    force: bool, queues: tuple[str, ...] | None, exclude_queues: tuple[str, ...] | None
) -> int:
    """Delete every message that waits, resting ones (eta, countdown) too.

    What a worker has already claimed is not touched. There is no way back.
    """
    app = invocation().load_app()
    known = list(app.router.queues)
    chosen = list(queues or known)
    for name in exclude_queues or ():
        if name not in chosen:
            near = difflib.get_close_matches(name, chosen, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.BadParameter(
                f"{name!r} is not among {', '.join(chosen)}.{hint}", param_hint="-X"
            )
        chosen.remove(name)
    if not chosen:
        raise click.UsageError("No queue is left to purge.")
    broker = app.broker
    stats = broker.stats(chosen)
    waiting = sum(one.ready + (one.delayed or 0) for one in stats)
    if not force:
        click.echo("This deletes what waits in:")
        for one in stats:
            resting = f", {one.delayed} for later" if one.delayed else ""
            claimed = f" ({one.claimed} being worked on stay)" if one.claimed else ""
            click.echo(f"  {one.name}: {one.ready} ready{resting}{claimed}")
        if any(one.delayed is None for one in stats):
            click.echo("What rests there for later stays: this broker cannot drop it.")
        click.confirm("It cannot be undone. Delete?", abort=True)
    total = sum(broker.purge(name) for name in chosen)
    where = f"{len(chosen)} queue{'s' if len(chosen) != 1 else ''}"
    click.echo(f"Purged {total} message{'s' if total != 1 else ''} from {where}.")
    if total < waiting and not invocation().flag("quiet"):
        click.echo("Fewer than a moment ago: workers took the others.", err=True)
    return 0
