"""``umbel completion``: what a shell needs to complete the command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from umbel.cli.parameters import Near

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=Near(SHELLS, "SHELL"))
def completion(shell: str) -> int:
    """Print what makes SHELL (bash, zsh or fish) complete commands and options.

    \b
    eval "$(umbel completion bash)"                       in ~/.bashrc
    eval "$(umbel completion zsh)"                        in ~/.zshrc
    umbel completion fish > ~/.config/fish/completions/umbel.fish
    """
    root = click.get_current_context().find_root()
    program = root.info_name or "umbel"
    made = get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"This release of click completes nothing in {shell}.")
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    click.echo(made(root.command, {}, program, variable).source())
    return 0
