"""``umbel worker``: from words to ``WorkerOptions``.

It does not import the app: that is done by a process of its own, so that nothing the user's code
does can stop the worker's supervisor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from umbel.cli.invocation import Invocation, common_options, invocation
from umbel.cli.parameters import CommaList, EnvOption, Near, Octal, Slots, settings_words
from umbel.worker.worker_options import POOLS, WorkerOptions

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

_REFUSED = {
    ("--scheduler",): (
        False,
        "Schedules rest in Umbel's own store; add entries by umbel schedule add.",
    ),
    ("--autoscale",): (False, "A worker does not change its size yet; give -c the larger number."),
    ("-D", "--detach"): (
        True,
        "Umbel does not put itself in the background: use systemd, supervisord or a container.",
    ),
    ("--executable",): (False, "Umbel starts its processes with the Python it runs on."),
}
"""Options of Celery's worker that are refused by name (True: takes no value), and why."""

_ACCEPTED = {
    ("--without-gossip",): True,
    ("--without-mingle",): True,
    ("-S", "--statedb"): False,
    ("-s", "--schedule", "--schedule-filename"): False,
}
"""Options without effect here: workers do not chatter, and revoked ids rest in the broker."""


class StartMethod(Near):
    """How executors are made. Celery knows ``spawn`` too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if str(value).lower() in {"spawn", "forkserver"}:
            self.fail(
                f"{value} is not needed: executors are forked, always from a process that has no "
                "threads and no connections, which is what spawn is for. Leave the option away.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def _option(*names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(*names, cls=EnvOption, **attributes)


def _refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        for names, (_, why) in _REFUSED.items():
            if param.opts[0] in names:
                raise click.UsageError(f"{'/'.join(names)} is not available: {why}", ctx)


def _celery_only(function: Callable[..., Any]) -> Callable[..., Any]:
    for names, (flag, _) in _REFUSED.items():
        function = click.option(
            *names, is_flag=flag, expose_value=False, hidden=True, callback=_refuse
        )(function)
    for names, flag in _ACCEPTED.items():
        function = click.option(*names, is_flag=flag, expose_value=False, hidden=True)(function)
    return function


@click.command()
@_option("-l", "--loglevel", type=Near(LEVELS, "LEVEL"), help=f"{', '.join(LEVELS)}.")
@_option("-f", "--logfile", metavar="PATH", help="Log file; %n %h %p %i are filled in.")
@_option(
    "-c", "--concurrency", type=Slots(), help="Tasks at once; auto or 0: one for each processor."
)
@_option("--processes", type=click.IntRange(min=1), help="Processes of a pool of many slots.")
@_option(
    "-P", "--pool", type=Near((*POOLS, "processes"), "POOL"), help=f"One of {', '.join(POOLS)}."
)
@_option("-Q", "--queues", type=CommaList(), help="Queues to take from, between commas.")
@_option("-X", "--exclude-queues", type=CommaList(), help="Queues to leave out.")
@_option("-n", "--hostname", metavar="NAME", help="Node name; %h is the host, %n its short name.")
@_option("-I", "--include", type=CommaList(), help="More modules to import.")
@_option(
    "-E",
    "--task-events",
    "--events",
    "task_events",
    is_flag=True,
    default=None,
    help="Tell monitors of every task.",
)
@_option("-B", "--beat", is_flag=True, help="Run a scheduler beside it, on any number of workers.")
@_option("--without-heartbeat", is_flag=True, help="Tell monitors nothing of the worker itself.")
@_option(
    "--heartbeat-interval",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between its signs of life for monitors (2).",
)
@_option(
    "-O",
    "--optimization",
    type=Near(("default", "fair"), "NAME"),
    help="default or fair (same).",
)
@_option("--prefetch-multiplier", type=click.IntRange(min=0), help="Most tasks waiting at a slot.")
@_option("--disable-prefetch", is_flag=True, default=None, help="Claim for free slots only.")
@_option("--time-limit", type=click.FloatRange(min=0), help="Seconds after which a run is killed.")
@_option(
    "--soft-time-limit", type=click.FloatRange(min=0), help="Seconds after which a run is told."
)
@_option("--max-tasks-per-child", type=click.IntRange(min=1), help="Runs before a process is new.")
@_option("--max-memory-per-child", type=click.IntRange(min=1), help="KiB before it is new.")
@_option("--pool-start-method", type=StartMethod(("fork",), "METHOD"), help="Only fork.")
@_option("--shutdown-timeout", type=click.FloatRange(min=0), help="Seconds a warm stop may take.")
@_option("--purge", "--discard", "purge", is_flag=True, help="Empty the queues first, unasked.")
@_option("--http", metavar="ADDRESS", help="Tell health and metrics here: host:port or unix:/path.")
@_option("--pidfile", metavar="PATH", help="File for the process id.")
@_option("--uid", metavar="USER", help="User to become.")
@_option("--gid", metavar="GROUP", help="Group to become.")
@_option("--umask", type=Octal(), help="Mask for the modes of new files.")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@_celery_only
@common_options
def worker(words: tuple[str, ...], **values: Any) -> int:
    """Run tasks.

    \b
    umbel worker -A proj -l info
    umbel worker -A proj -c 4 -Q mail,video
    umbel worker -A proj -P asyncio -c 200

    Settings may follow as name=value and win over everything.
    """
    overrides = settings_words(words, click.get_current_context())
    options = worker_options(invocation(), overrides, values)
    # The worker's modules are wanted only when one runs, not for `umbel worker --help`.
    from umbel.worker.wiring import run_worker  # noqa: PLC0415

    return run_worker(options)


def worker_options(
    served: Invocation, overrides: Mapping[str, str], values: dict[str, Any]
) -> WorkerOptions:
    """Make the value the worker is started with, and change to the directory it works in.

    The directory counts for all its processes: relative paths in URLs, of log and pid files mean
    the same everywhere. Raises click.UsageError without an app.
    """
    app = served.text("app")
    if app is None and served.app_object is None:
        raise click.UsageError(
            f"Which app? Say where it is: {served.profile} worker -A tasks, for an app in "
            "tasks.py (or set UMBEL_APP)."
        )
    served.prepare()
    more = dict(overrides)
    if values.pop("disable_prefetch"):
        more.setdefault("worker_disable_prefetch", "true")
    if method := values.pop("pool_start_method"):
        more.setdefault("worker_pool_start_method", method)
    pool = values.pop("pool")
    given = {name: value for name, value in values.items() if value is not None}
    given["concurrency"] = given.get("concurrency") or None
    return WorkerOptions(
        app=app,
        app_object=None if app else served.app_object,
        workdir=os.getcwd() if served.text("workdir") else None,
        broker=served.text("broker"),
        result_backend=served.text("result_backend"),
        overrides=more,
        no_color=served.no_color,
        quiet=served.flag("quiet"),
        pool="prefork" if pool == "processes" else pool,
        **given,
    )
