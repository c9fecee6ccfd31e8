"""``umbel explain``: why a task is not running."""

from __future__ import annotations

import json

import click
import msgspec

from umbel.app.explaining import DEPTH
from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import CommaList, EnvOption

FAILED = 1


@click.command()
@click.argument("task_id")
@click.option(
    "-t",
    "--timeout",
    cls=EnvOption,
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Seconds to wait for workers, where they must be asked.",
)
@click.option(
    "--depth",
    cls=EnvOption,
    type=click.IntRange(min=1),
    default=DEPTH,
    show_default=True,
    help="Messages of each queue to look through, at most.",
)
@click.option(
    "-Q",
    "--queues",
    cls=EnvOption,
    type=CommaList(),
    help="More queues to look into than those of the app and of the workers.",
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def explain(
    task_id: str, timeout: float, depth: int, queues: tuple[str, ...] | None, as_json: bool
) -> int:
    """Say why the task TASK_ID is not running.

    The first line is the answer; the others are what else was found. Exit code 1 when nothing is
    known of this id.
    """
    app = invocation().load_app()
    told = app.explain(task_id, timeout=timeout, depth=depth, queues=queues or ())
    if as_json:
        document = {
            "task_id": told.task_id,
            "found": told.found,
            "verdict": told.verdict,
            "findings": [msgspec.structs.asdict(one) for one in told.findings],
        }
        click.echo(json.dumps(document, default=str))
    else:
        click.echo(told.verdict)
        for finding in told.findings:
            if finding.says != told.verdict:
                click.echo(f"  {finding.says}")
    return 0 if told.found else FAILED
