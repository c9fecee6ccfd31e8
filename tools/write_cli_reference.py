"""Write docs/reference/cli.md from the commands themselves.

    python tools/write_cli_reference.py           # write the page
    python tools/write_cli_reference.py --check   # status 1 when the page is out of date

A command's text is its docstring, an option's the ``help`` it is made with.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from umbel.cli.main import umbel

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"

VALUES = {"INTEGER RANGE": "N", "FLOAT RANGE": "SECONDS", "FLOAT": "SECONDS"}
"""How the page calls values that click names by their types."""

INTRODUCTION = """\
# Command line

<!-- Written by tools/write_cli_reference.py. Change the help of the command or of its option. -->

`umbel` and, where `umbel-celery` is installed, `celery` have the same commands. `celery` runs them
with the profile `celery`. How workers are run day by day is told in
[Running a worker](../howto/running-a-worker.md).

| command | what it does |
|---|---|
{commands}

**Exit codes.** 0: done. 1: it failed, or something was found. 2: wrong usage, or `-A` leads to no
app. 69: nobody answers (no broker, no worker).

**Environment.** `UMBEL_` or `CELERY_`, the name of the command and the name of the option, in
capitals, give an option: `UMBEL_WORKER_CONCURRENCY=4`. What is typed wins over it. Options that
have variables of their own name them below.

## Options of every command

They may stand before the name of the command or after it.

{common}
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Return every command by its name."""
    context = click.Context(umbel, info_name="umbel")
    for name in umbel.list_commands(context):
        command = umbel.get_command(context, name)
        assert command is not None
        yield name, command


def table(parameters: list[click.Option], command: str | None) -> str:
    """Return the options as a table; ``command`` None: they are common to all."""
    rows = ["| option | meaning |", "|---|---|"]
    for one in parameters:
        context = click.Context(umbel)
        value = (
            "" if one.is_flag else f" {VALUES.get(metavar := one.make_metavar(context), metavar)}"
        )
        names = ", ".join(f"`{name}{value}`" for name in [*one.opts, *one.secondary_opts])
        own = [one.envvar] if isinstance(one.envvar, str) else list(one.envvar or ())
        given = f" Environment: {', '.join(f'`{name}`' for name in own)}." if not command else ""
        if not own:
            given = ""
        rows.append(f"| {names} | {(one.help or '').strip()}{given} |".replace("[", "\\["))
    return "\n".join(rows)


def options(command: click.Command) -> list[click.Option]:
    """Return what is not hidden, without ``--help``."""
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def sections(name: str, command: click.Command, common: set[str]) -> Iterator[str]:
    """Yield the chapter of one command, and those of its own commands."""
    yield section(name, command, common) + "\n"
    if isinstance(command, click.Group):
        for inner, one in sorted(command.commands.items()):
            yield from sections(f"{name} {inner}", one, common)


def section(name: str, command: click.Command, common: set[str]) -> str:
    """Return the chapter of one command."""
    context = click.Context(command, info_name=f"umbel {name}")
    usage = " ".join(["umbel", name, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "").replace("\x0c", "")
    own = [one for one in options(command) if one.opts[-1] not in common]
    parts = [f"## umbel {name}", f"    {usage}", paragraphs(text)]
    if own:
        parts.append(table(own, name))
    return "\n\n".join(parts)


def paragraphs(text: str) -> str:
    """Return the help as Markdown: what click leaves unwrapped is a block of code."""
    found = []
    for part in text.split("\n\n"):
        lines = part.split("\n")
        if lines[0] == "\b":
            found.append("\n".join(f"    {line}" for line in lines[1:]))
        else:
            found.append(part)
    return "\n\n".join(found)


def page() -> str:
    """Return the whole page."""
    common = [one for one in options(umbel) if one.opts[-1] != "--version"]
    names = {one.opts[-1] for one in common}
    listed = dict(commands())
    rows = "\n".join(
        f"| [`umbel {name}`](#umbel-{name}) | {(command.help or '').strip().splitlines()[0]} |"
        for name, command in listed.items()
    )
    parts = [INTRODUCTION.format(commands=rows, common=table(common, None))]
    parts += [part for name, command in listed.items() for part in sections(name, command, names)]
    return "\n".join(parts)


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current != text:
            print(f"{PAGE} is out of date: run python {Path(__file__).name}", file=sys.stderr)
        return int(current != text)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
