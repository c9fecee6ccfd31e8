"""``umbel beat``: the scheduler as a process of its own."""

from __future__ import annotations

from typing import Any

import click

from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import EnvOption, Near, Octal
from umbel.cli.work_command import LEVELS
from umbel.errors import ImproperlyConfigured

_OURS = (None, "celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler")


def _refuse_detach(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        raise click.UsageError(
            "--detach is not available: Umbel does not put itself in the background; use systemd,"
            " supervisord or a container.",
            ctx,
        )


@click.command()
@click.option(
    "-l", "--loglevel", cls=EnvOption, type=Near(LEVELS, "LEVEL"), help=f"{', '.join(LEVELS)}."
)
@click.option("-f", "--logfile", cls=EnvOption, metavar="PATH", help="Log file.")
@click.option("--pidfile", cls=EnvOption, metavar="PATH", help="File for the process id.")
@click.option(
    "--max-interval",
    cls=EnvOption,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between looks for changes, at most.",
)
@click.option("-S", "--scheduler", cls=EnvOption, metavar="CLASS", hidden=True)
@click.option("-s", "--schedule", cls=EnvOption, metavar="PATH", hidden=True)
@click.option("--uid", cls=EnvOption, metavar="USER", help="User to become.")
@click.option("--gid", cls=EnvOption, metavar="GROUP", help="Group to become.")
@click.option("--umask", cls=EnvOption, type=Octal(), help="Mask for the modes of new files.")
@click.option("--detach", is_flag=True, hidden=True, expose_value=False, callback=_refuse_detach)
@common_options
def beat(loglevel: str | None, logfile: str | None, **given: Any) -> int:
    """Send periodic tasks when they are due.

    Run as many as you like, on as many machines: each run is sent once. What ran last is in the
    store, so nothing is lost with this process. A worker does the same with -B.
    """
    # The scheduler's modules are wanted only when one runs, not for `umbel beat --help`.
    from umbel.beat.standing_alone import run_scheduler  # noqa: PLC0415
    from umbel.worker.identity import become  # noqa: PLC0415
    from umbel.worker.pidfile import PidFile  # noqa: PLC0415

    app = invocation().load_app()
    settings = app.settings
    chosen = given["scheduler"] or settings.beat_scheduler
    if chosen not in _OURS:
        raise ImproperlyConfigured(
            f"the scheduler class {chosen!r} cannot be used: schedules rest in Umbel's own store;"
            " leave -S and beat_scheduler away, and add entries by umbel schedule add"
        )
    banner = _banner(app)
    become(
        _text(given["uid"], settings.beat_uid),
        _text(given["gid"], settings.beat_gid),
        given["umask"] if given["umask"] is not None else settings.beat_umask,
    )
    path = given["pidfile"] or settings.beat_pidfile
    pidfile = PidFile(path) if path else None
    if pidfile is not None:
        pidfile.write()
    try:
        app.log.setup(loglevel or "INFO", logfile or settings.beat_logfile)
        if not invocation().flag("quiet"):
            click.echo(banner)
        run_scheduler(app, max_interval=given["max_interval"])
    finally:
        if pidfile is not None:
            pidfile.remove()
        app.close()
    return 0


def _text(*given: int | str | None) -> str | None:
    return next((str(each) for each in given if each is not None), None)


def _banner(app: Any) -> str:
    count = len(app.periodic.all())
    return (
        f"umbel beat: {count} entr{'y' if count == 1 else 'ies'} of {app!r},"
        f" timetable {app.connections.timetable}, zone {app.timezone}"
    )
