"""``umbel inspect`` and ``umbel control``: remote control from a terminal."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import CommaList, EnvOption
from umbel.control.client import merged
from umbel.control.command_specs import BY_NAME, SPECS, Spec
from umbel.errors import UsageError

UNAVAILABLE = 69


def _listing(*, inspect: bool) -> str:
    rows = [spec for spec in SPECS if spec.visible and spec.inspect is inspect]
    width = max(len(spec.name) for spec in rows)
    return "\n".join(f"{spec.name:{width}}  {spec.help}" for spec in rows)


def _epilog(*, inspect: bool) -> str:
    return "\b\nCommands:\n  " + _listing(inspect=inspect).replace("\n", "\n  ")


def _print_list(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value and not ctx.resilient_parsing:
        click.echo(_listing(inspect=ctx.info_name == "inspect"))
        ctx.exit()


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.argument("action", metavar="COMMAND"),
            click.argument("words", nargs=-1, metavar="[ARG]..."),
            click.option(
                "-t",
                "--timeout",
                cls=EnvOption,
                type=click.FloatRange(min=0, min_open=True),
                help="Seconds without an answer after which the missing ones are given up.",
            ),
            click.option(
                "-d",
                "--destination",
                cls=EnvOption,
                type=CommaList(),
                help="Only the nodes of these names.",
            ),
            click.option(
                "--pattern", cls=EnvOption, metavar="TEXT", help="Only nodes that fit: celery@web*."
            ),
            click.option(
                "--matcher",
                type=click.Choice(["glob", "pcre"]),
                help="How --pattern is read; glob unless said.",
            ),
            click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON."),
            click.option(
                "-l",
                "--list",
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_list,
                help="List the commands.",
            ),
        )
    ):
        function = option(function)
    return function


@click.command(epilog=_epilog(inspect=True))
@_options
@common_options
def inspect(**given: Any) -> int:
    """Ask workers something, and print what they answer.

    \b
    umbel inspect -A proj active
    umbel inspect -A proj ping -d celery@web1

    Exit code 69 when nobody answers.
    """
    return _run(inspect=True, **given)


@click.command(epilog=_epilog(inspect=False))
@_options
@common_options
def control(**given: Any) -> int:
    """Tell workers something, and print what they answer.

    \b
    umbel control -A proj time_limit proj.add 10 20
    umbel control -A proj pool_grow 2 -d celery@web1

    Exit code 69 when nobody answers, 1 when a worker answers with an error.
    """
    return _run(inspect=False, **given)


def _run(
    *,
    inspect: bool,
    action: str,
    words: Sequence[str],
    timeout: float | None,
    destination: tuple[str, ...] | None,
    pattern: str | None,
    matcher: str | None,
    as_json: bool,
) -> int:
    spec = _spec(action, inspect=inspect)
    try:
        arguments = spec.from_words(words)
    except UsageError as error:
        raise click.UsageError(str(error)) from None
    quiet = invocation().flag("quiet")
    show = None if as_json else lambda reply: _show(reply, quiet=quiet)
    replies = (
        invocation()
        .load_app()
        .control.broadcast(
            spec.name,
            arguments=arguments,
            destination=destination,
            reply=True,
            timeout=timeout or spec.timeout,
            callback=show,
            pattern=pattern,
            matcher=matcher,
        )
        or []
    )
    if as_json:
        # As Celery prints them: a mapping of what was asked, a list of what was told.
        click.echo(json.dumps(merged(replies) if inspect else replies))
    if not replies and spec.name != "shutdown":
        click.echo("Error: No worker answered in time.", err=True)
        return UNAVAILABLE
    if not as_json and not quiet and replies:
        click.echo(f"\n{len(replies)} node{'s' if len(replies) != 1 else ''} online.")
    failed = any(_error_of(one) for each in replies for one in each.values())
    return 1 if failed and not inspect else 0


def _spec(action: str, *, inspect: bool) -> Spec:
    spec = BY_NAME.get(action)
    if spec is not None and spec.inspect is inspect:
        return spec
    if spec is not None:
        other = "inspect" if spec.inspect else "control"
        raise click.UsageError(f"{action} is a command of `umbel {other}`.")
    names = [one.name for one in SPECS if one.inspect is inspect]
    near = difflib.get_close_matches(action, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise click.UsageError(f"There is no command {action!r}.{hint} --list shows them.")


def _error_of(reply: Any) -> str | None:
    return str(reply["error"]) if isinstance(reply, Mapping) and "error" in reply else None


def _show(replies: Mapping[str, Any], *, quiet: bool) -> None:
    for node, reply in replies.items():
        error = _error_of(reply)
        click.echo(f"->  {node}: {'ERROR' if error else 'OK'}")
        if not quiet or error:
            click.echo("\n".join(f"    {line}" for line in _lines(reply)))


def _lines(reply: Any) -> list[str]:
    if isinstance(reply, Mapping):
        for word in ("error", "ok"):
            if word in reply and len(reply) == 1:
                return str(reply[word]).splitlines() or [""]
    if isinstance(reply, Sequence) and not isinstance(reply, str):
        if not reply:
            return ["- empty -"]
        return [f"* {each if isinstance(each, str) else json.dumps(each)}" for each in reply]
    if isinstance(reply, str):
        return reply.splitlines()
    return json.dumps(reply, indent=4, sort_keys=True, default=str).splitlines()
