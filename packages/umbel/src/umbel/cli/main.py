"""The command ``umbel``: which commands there are, and how every one of them ends.

Entry of the console script, of ``python -m umbel``, of the ``celery`` command and of
``app.worker_main``. The commands' own modules are imported when their command is called, so that
``umbel --help`` and a worker's start pay for nothing else.

Exit codes: 0 done · 1 failed · 2 wrong usage, or ``-A`` leads to no app · 69 nobody answers.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from umbel.cli.invocation import Invocation, common_options
from umbel.cli.parameters import give_environment
from umbel.errors import OperationalError, UmbelError
from umbel.version import __version__

if TYPE_CHECKING:
    from umbel.app.app import App

FAILED, USAGE, UNAVAILABLE = 1, 2, 69


class _Entry(NamedTuple):
    module: str
    attribute: str
    summary: str


_COMMANDS = {
    "worker": _Entry("work_command", "worker", "Run tasks."),
    "dev": _Entry("dev_command", "dev", "Run a worker that starts anew when a file changes."),
    "beat": _Entry("beat_command", "beat", "Send periodic tasks when they are due."),
    "schedule": _Entry("schedule_commands", "schedule", "Show and change the schedule."),
    "call": _Entry("task_commands", "call", "Send a task."),
    "result": _Entry("task_commands", "result", "Show the result of a task."),
    "purge": _Entry("queue_commands", "purge", "Delete the messages that wait in queues."),
    "quarantine": _Entry("shelf_commands", "quarantine", "Look after what workers set aside."),
    "delayed": _Entry("shelf_commands", "delayed", "Look after what rests until its time."),
    "status": _Entry("fleet_commands", "status", "Show the workers that are alive."),
    "inspect": _Entry("remote_commands", "inspect", "Ask the workers something."),
    "control": _Entry("remote_commands", "control", "Tell the workers something."),
    "events": _Entry("events_command", "events", "Show what workers and tasks do."),
    "report": _Entry("report_command", "report", "Print what a bug report should contain."),
    "migrate": _Entry(
        "migrate_command", "migrate", "Bring the tables of a store up to this release."
    ),
    "outbox": _Entry("outbox_commands", "outbox", "Look after what delay_tx wrote."),
    "doctor": _Entry("doctor_command", "doctor", "Look for what is wrong, and say what to do."),
}

_ELSEWHERE = {
    "multi": "Umbel starts no daemons: use systemd, supervisord or containers, one worker each.",
    "shell": "Use python -i with your app's module.",
    "flower": "Flower is a program of its own: celery -b URL flower, beside the real Celery.",
    "upgrade": "Both spellings of every Celery setting are read as they are.",
    "amqp": "Use rabbitmqctl, or the management page of RabbitMQ.",
    "logtool": "Read the log with the tools you have.",
    "graph": "Umbel has no bootsteps to draw.",
    "list": "umbel status shows the workers and their queues.",
}
"""Commands of Celery's that are absent, and what to do instead."""


class UmbelGroup(click.Group):
    """The commands, imported when called; a wrong name is told the nearest right one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [*_COMMANDS, "help"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"umbel.cli.{entry.module}")
        command: click.Command = getattr(module, entry.attribute)
        return give_environment(command)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        rows = [(name, entry.summary) for name, entry in _COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*rows, ("help", "Show the help of a command.")])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-"):
            name = args[0]
            if name not in self.list_commands(ctx):
                ctx.fail(_unknown_command(name))
        return super().resolve_command(ctx, args)


def _unknown_command(name: str) -> str:
    if name in _ELSEWHERE:
        return f"There is no command {name!r}. {_ELSEWHERE[name]}"
    near = difflib.get_close_matches(name, [*_COMMANDS, "help"], n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no command {name!r}.{hint}"


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value and not ctx.resilient_parsing:
        celery = ctx.ensure_object(Invocation).profile == "celery"
        name = ctx.find_root().info_name
        click.echo(f"5.7.0 (umbel {__version__})" if celery else f"{name} {__version__}")
        ctx.exit()


@click.group(
    cls=UmbelGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command takes the options above, before its name or after it.",
)
@common_options
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def umbel() -> None:
    """Umbel: a distributed task queue.

    \b
    umbel dev tasks.py                 a worker that follows your changes
    umbel worker -A proj -l info       a worker
    umbel call -A proj proj.add 2 3    send a task
    """


@umbel.command(name="help")
@click.argument("command", required=False)
def help_command(command: str | None) -> int:
    """Show the help of a command."""
    ctx = click.get_current_context()
    root = ctx.find_root()
    if command is None or not isinstance(root.command, click.Group):
        click.echo(root.get_help())
        return 0
    found = root.command.get_command(root, command)
    if found is None:
        raise click.UsageError(_unknown_command(command), root)
    with click.Context(found, info_name=command, parent=root) as inner:
        click.echo(found.get_help(inner))
    return 0


def main(
    argv: Sequence[str] | None = None,
    *,
    app: App | None = None,
    profile: str = "umbel",
    prog: str | None = None,
) -> int:
    """Run one command line, without the program's name; return the exit code.

    ``app`` is the app of a program that runs the command itself; ``-A`` wins over it. ``profile``
    ``celery`` is how the ``celery`` command runs: same commands, Celery's defaults.
    """
    served = Invocation(app=app, profile=profile if app is None else app.profile)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code: Any = umbel.main(
            args=words, prog_name=prog or _program(), standalone_mode=False, obj=served
        )
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        return FAILED
    except click.ClickException as error:
        if served.debug and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        error.show()
        return error.exit_code
    except UmbelError as error:
        if served.debug:
            traceback.print_exc()
        else:
            click.echo(_one_sentence(error), err=True)
        return _exit_code(error)
    return code if isinstance(code, int) else 0


def _program() -> str:
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return "umbel" if not name or name.endswith(".py") or name == "-c" else name


def _exit_code(error: UmbelError) -> int:
    if isinstance(error, OperationalError):
        return UNAVAILABLE
    told = getattr(error, "exit_code", FAILED)
    return told if isinstance(told, int) else FAILED


def _one_sentence(error: UmbelError) -> str:
    text = str(error) or type(error).__name__
    return f"Error: {text}"
