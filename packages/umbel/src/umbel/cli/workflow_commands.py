"""``umbel workflow``: look at a workflow that was sent, go on with it, end it.

They say in words what ``app.workflow`` does.
"""

from __future__ import annotations

import json
import time

import click
import msgspec

from umbel.app.kept_workflows import KeptWorkflow
from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import EnvOption
from umbel.workflows.nodes import Node, drawn


@click.group()
@common_options
def workflow() -> None:
    """Look at a workflow that was sent, go on with it, end it.

    \b
    umbel workflow show ID --watch
    umbel workflow resume ID
    umbel workflow retry ID RUN
    umbel workflow abort ID

    ID is that of the handle that sending it returned: of its last run, or of its last group.
    """


def _kept(workflow_id: str) -> KeptWorkflow:
    return invocation().load_app().workflow(workflow_id)


@workflow.command()
@click.argument("workflow_id", metavar="ID")
@click.option("-w", "--watch", is_flag=True, help="Draw it again until it is over.")
@click.option(
    "--interval",
    cls=EnvOption,
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds between two drawings.",
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def show(workflow_id: str, watch: bool, interval: float, as_json: bool) -> int:
    """Draw a workflow as a tree, each call with its state.

    WAITING is what was not sent yet, since something before it is not over. PENDING was sent.
    """
    kept = _kept(workflow_id)
    told: list[str] | None = None
    while True:
        node = kept.status()
        lines = [_document(node)] if as_json else list(drawn(node))
        if lines != told:
            click.echo("\n".join(lines if told is None or as_json else ["", *lines]))
        told = lines
        if not watch or all(one.over for one in node.runs()):
            return 0
        time.sleep(interval)


def _document(node: Node) -> str:
    return json.dumps(msgspec.to_builtins(node))


@workflow.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--force", is_flag=True, help="Also what is not over: its messages are lost.")
@common_options
def resume(workflow_id: str, force: bool) -> int:
    """Send again what failed, and what never ran because of that."""
    click.echo(_kept(workflow_id).resume(force=force).id)
    return 0


@workflow.command()
@click.argument("workflow_id", metavar="ID")
@click.argument("run_id", metavar="RUN")
@click.option("--force", is_flag=True, help="Also where something is not over.")
@common_options
def retry(workflow_id: str, run_id: str, force: bool) -> int:
    """Send one run again, and what comes after it."""
    click.echo(_kept(workflow_id).retry(run_id, force=force).id)
    return 0


@workflow.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--terminate", is_flag=True, help="End also what runs now.")
@common_options
def abort(workflow_id: str, terminate: bool) -> int:
    """See that nothing more of it runs."""
    count = _kept(workflow_id).abort(terminate=terminate)
    click.echo(f"{count:,} runs are revoked.")
    return 0
