"""``umbel multi``: several workers of one machine, started and stopped together.

A convenience for machines without a service manager; each worker is a process in the background,
known by its pid file. Nothing is remembered between two calls: stopping takes the same
``--pidfile`` as starting did.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from umbel.app.logs import expand_node_format
from umbel.cli.detaching import detach
from umbel.cli.invocation import invocation
from umbel.cli.node_options import Node, Plan, read_plan
from umbel.cli.work_command import worker

FAILED, USAGE = 1, 2
_OWN = {
    "--prefix": True,
    "--suffix": True,
    "--range-prefix": True,
    "--hostname": True,
    "--cmd": True,
    "--append": True,
    "--executable": True,
    "--nosplash": False,
    "--quiet": False,
    "-q": False,
    "--verbose": False,
    "--no-color": False,
    "-C": False,
    "--help": False,
    "-h": False,
}
_FILES = {
    "umbel": {"--pidfile": "%n.pid", "--logfile": "%n%I.log"},
    "celery": {
        "--pidfile": "/var/run/celery/%n.pid",
        "--logfile": "/var/log/celery/%n%I.log",
    },
}
"""Where the files of a worker are that names none."""
_SHORT = {"-f": "--logfile"}


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    },
    add_help_option=False,
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="VERB [NODE]... [OPTIONS]")
def multi(words: tuple[str, ...]) -> int:
    """Start and stop several workers of one machine.

    \b
    umbel multi start mail video -A proj -l info -c 4 -c:video 1 -Q:mail mail
    umbel multi restart 3 -A proj -c 3 -c:1 10 -Q:2,3 data
    umbel multi stop mail video --pidfile=/run/umbel/%n.pid

    \b
    start, restart         in the background; restart waits for the old ones
    stop, stopwait         SIGTERM (or -SIGNAL); stopwait waits for their end
    kill                   SIGKILL
    show, get NODE         the command lines, or the options of one node
    names, expand PATTERN  the full names, or a pattern filled in for each

    Nodes are names, or one number: 3 is celery1 to celery3. Options are those of umbel worker;
    with a colon they are for some nodes: by name, by number, between commas, or 2-4. Of multi
    itself are --prefix, --suffix, --range-prefix, --hostname, --cmd, --append, --executable,
    --quiet and --verbose. Without --pidfile and --logfile the files are in the current
    directory.
    """
    if not words or words[0] in ("help", "--help", "-h"):
        click.echo(click.get_current_context().get_help())
        return 0
    verb, *others = words
    act = _VERBS.get(verb)
    if act is None:
        raise click.UsageError(f"There is no verb {verb!r}; there are {', '.join(_VERBS)}.")
    leading = 1 if verb in ("get", "expand") else 0
    host = socket.gethostname()
    plan = read_plan(others, flags=_flags(), own=_OWN, host=host, leading=leading)
    if not plan.nodes:
        raise click.UsageError(f"Which nodes? umbel multi {verb} NODE..., or a number of them.")
    return act(plan)


def _flags() -> frozenset[str]:
    return frozenset(
        name
        for parameter in worker.params
        if isinstance(parameter, click.Option) and parameter.is_flag
        for name in parameter.opts
    )


# --- what each node is ----------------------------------------------------------------------------


def _file_of(node: Node, option: str) -> str:
    values = _values(node, option)
    pattern = values[-1] if values else _FILES[invocation().profile][option]
    return expand_node_format(pattern, node.name)


def _values(node: Node, option: str) -> list[str]:
    return [word.partition("=")[2] for word in node.options if word.startswith(f"{option}=")] or [
        value
        for name, value in zip(node.options, node.options[1:], strict=False)
        if _SHORT.get(name) == option
    ]


def _command(plan: Plan, node: Node) -> list[str]:
    """Return the words after ``umbel`` that start this node."""
    served = invocation()
    words = [*shlex.split(plan.own.get("--cmd") or "worker"), "--detach", "-n", node.name]
    for option in ("app", "broker", "result_backend", "workdir"):
        value = served.text(option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", value]
    words += node.options
    for option in ("--pidfile", "--logfile"):
        if not _values(node, option):
            words.append(f"{option}={_file_of(node, option)}")
    return [*words, *shlex.split(plan.own.get("--append", ""))]


def _pid(node: Node) -> int | None:
    """Return the process of this node, if its file names one that lives."""
    try:
        pid = int(Path(_file_of(node, "--pidfile")).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if _lives(pid) else None


class _Teller:
    def __init__(self, plan: Plan) -> None:
        self._quiet = "--quiet" in plan.own or "-q" in plan.own or invocation().flag("quiet")

    def __call__(self, text: str) -> None:
        if not self._quiet:
            click.echo(text)


# --- the verbs ------------------------------------------------------------------------------------


def _start(plan: Plan) -> int:
    say, failed = _Teller(plan), 0
    say("> Starting nodes...")
    for node in plan.nodes:
        running = _pid(node)
        if running is not None:
            say(f"\t> {node.name}: is running already (pid {running})")
            failed = FAILED
            continue
        words = _command(plan, node)
        if "--verbose" in plan.own:
            say(f"\t  {shlex.join(words)}")
        status = detach(
            words,
            profile=invocation().profile,
            node=node.name,
            logfile=_file_of(node, "--logfile"),
            executable=plan.own.get("--executable"),
        )
        say(f"\t> {node.name}: {'OK' if status == 0 else f'FAILED (status {status})'}")
        failed = failed or (FAILED if status else 0)
    return failed


def _signalled(plan: Plan, number: signal.Signals) -> list[tuple[Node, int]]:
    say = _Teller(plan)
    found: list[tuple[Node, int]] = []
    for node in plan.nodes:
        pid = _pid(node)
        if pid is None:
            say(f"\t> {node.name}: is not running")
            continue
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError) as error:
            say(f"\t> {node.name}: cannot be told: {error.strerror}")
            continue
        say(f"\t> {node.name}: {number.name} -> {pid}")
        found.append((node, pid))
    return found


def _stop(plan: Plan) -> int:
    _Teller(plan)("> Stopping nodes...")
    _signalled(plan, _signal(plan))
    return 0


def _stopwait(plan: Plan) -> int:
    say = _Teller(plan)
    say("> Stopping nodes...")
    for node, pid in _signalled(plan, _signal(plan)):
        while _lives(pid):
            time.sleep(0.05)
        say(f"\t> {node.name}: ended")
    return 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _restart(plan: Plan) -> int:
    return _stopwait(plan) or _start(plan)


def _kill(plan: Plan) -> int:
    _Teller(plan)("> Killing nodes...")
    _signalled(plan, signal.SIGKILL)
    return 0


def _signal(plan: Plan) -> signal.Signals:
    name = plan.signal or "TERM"
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise click.UsageError(f"-{name} is no signal; -TERM, -QUIT and -KILL are.") from None


def _show(plan: Plan) -> int:
    module = "umbel_celery" if invocation().profile == "celery" else "umbel"
    program = [plan.own.get("--executable") or sys.executable, "-m", module]
    for node in plan.nodes:
        click.echo(shlex.join([*program, *_command(plan, node)]))
    return 0


def _get(plan: Plan) -> int:
    (wanted,) = plan.words
    for node in plan.nodes:
        if wanted in (node.name, node.name.partition("@")[0]):
            click.echo(shlex.join(_command(plan, node)))
            return 0
    known = ", ".join(node.name for node in plan.nodes)
    click.echo(f"There is no node {wanted!r} among {known}.", err=True)
    return FAILED


def _names(plan: Plan) -> int:
    for node in plan.nodes:
        click.echo(node.name)
    return 0


def _expand(plan: Plan) -> int:
    (pattern,) = plan.words
    for node in plan.nodes:
        click.echo(expand_node_format(pattern, node.name))
    return 0


_VERBS: Mapping[str, Callable[[Plan], int]] = {
    "start": _start,
    "stop": _stop,
    "stopwait": _stopwait,
    "stop_verify": _stopwait,
    "restart": _restart,
    "kill": _kill,
    "show": _show,
    "get": _get,
    "names": _names,
    "expand": _expand,
}
