"""``umbel status``: who is alive, and what lies in the queues."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import CommaList, EnvOption
from umbel.model.presence import Presence
from umbel.model.queues import QueueStats

UNAVAILABLE = 69


@click.command()
@click.option(
    "-d", "--destination", cls=EnvOption, type=CommaList(), help="Only the nodes of these names."
)
@click.option("-t", "--timeout", cls=EnvOption, type=float, hidden=True)
@click.option("--queues", is_flag=True, help="Show what lies in the queues too.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def status(
    destination: tuple[str, ...] | None,
    timeout: float | None,  # noqa: ARG001 - nobody is asked, so there is nothing to wait for
    queues: bool,
    as_json: bool,
) -> int:
    """Show the workers whose lease in the broker is alive. Exit code 69 when there are none.

    Nobody is asked: a worker too busy to answer is shown all the same. With --queues the JSON has
    one more key, "queues".
    """
    served = invocation()
    app = served.load_app()
    nodes = sorted(app.broker.presences(), key=lambda one: one.name)
    names = dict.fromkeys([*app.router.queues, *(name for one in nodes for name in one.queues)])
    stats = app.broker.stats(list(names)) if queues else ()
    if destination:
        nodes = [one for one in nodes if one.name in destination]
    if as_json:
        document: dict[str, Any] = {one.name: _document(one) for one in nodes}
        if queues:
            document["queues"] = {one.name: _queue_document(one) for one in stats}
        click.echo(json.dumps(document))
    elif nodes and sys.stdout.isatty() and not served.flag("quiet"):
        _print_table(nodes, no_color=served.no_color)
    else:
        for one in nodes:
            click.echo(f"{one.name}: OK")
    if stats and not as_json:
        click.echo("".join(f"\n{_queue_line(one)}" for one in stats))
    if not nodes:
        asked = f" of the name {', '.join(destination)}" if destination else ""
        click.echo(f"Error: No worker{asked} is alive on this broker.", err=True)
        return UNAVAILABLE
    if not as_json:
        click.echo(f"\n{len(nodes)} node{'s' if len(nodes) != 1 else ''} online.")
    return 0


def _queue_document(one: QueueStats) -> dict[str, Any]:
    since = one.quarantined_since
    return {
        "ready": one.ready,
        "claimed": one.claimed,
        "delayed": one.delayed,
        "quarantined": one.quarantined,
        "quarantined_since": None if since is None else since.isoformat(),
        "quarantined_age": None if since is None else _age(since),
    }


def _queue_line(one: QueueStats) -> str:
    counts = ((one.ready, "ready"), (one.claimed, "claimed"), (one.delayed, "for later"))
    known = ", ".join(f"{count} {word}" for count, word in counts if count is not None)
    line = f"{one.name}: {known}"
    if one.quarantined_since is None:
        return line
    age = duration(_age(one.quarantined_since))
    return f"{line}, {one.quarantined} set aside (the oldest {age} ago)"


def _age(moment: datetime) -> float:
    return max(0.0, time.time() - moment.timestamp())


def _document(one: Presence) -> dict[str, Any]:
    return {
        "ok": "pong",
        "pid": one.pid,
        "pool": one.pool,
        "concurrency": one.concurrency,
        "queues": list(one.queues),
        "active": one.active,
        "processed": dict(one.processed),
        "started": one.started,
        "seen": one.seen,
        "version": one.version,
    }


def _print_table(nodes: Sequence[Presence], *, no_color: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - 40 ms that only a terminal's reader wants
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    for title in ("node", "", "pid", "pool", "busy", "queues", "done", "up"):
        table.add_column(title)
    for one in nodes:
        done = ", ".join(f"{count} {state.lower()}" for state, count in one.processed.items())
        table.add_row(
            one.name,
            "[green]OK[/]",
            str(one.pid),
            one.pool,
            f"{one.active}/{one.concurrency}",
            ", ".join(one.queues),
            done or "nothing yet",
            duration(time.time() - one.started),
        )
    Console(no_color=no_color).print(table)


def duration(seconds: float) -> str:
    """Say a span of time in at most two units."""
    left = max(0, int(seconds))
    words = []
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{name}")
    return " ".join(words[:2]) or "0s"
