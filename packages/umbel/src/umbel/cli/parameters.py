"""Kinds of options: comma lists, octal numbers, and options that the environment may give.

Used by the modules of the single commands. Nothing here knows an app.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    _Names: TypeAlias = click.ParamType[tuple[str, ...]]
    _Number: TypeAlias = click.ParamType[int]
    _Choice: TypeAlias = click.Choice[str]
else:  # click made its types generic late; at run time any release will do
    _Names = _Number = click.ParamType
    _Choice = click.Choice


class CommaList(_Names):
    """Words between commas."""

    name = "NAMES"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in str(value).split(",") if word.strip())
        if not words:
            self.fail("give at least one name, several between commas", param, ctx)
        return words


class Near(_Choice):
    """One of several words in any case; a wrong one is told the nearest right one."""

    def __init__(self, choices: tuple[str, ...], metavar: str) -> None:
        super().__init__(choices, case_sensitive=False)
        self._metavar = metavar

    def get_metavar(
        self,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        ctx: click.Context | None = None,  # noqa: ARG002 - as above
    ) -> str | None:
        return self._metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = {str(choice).lower(): str(choice) for choice in self.choices}
        asked = str(value).lower()
        if asked not in words:
            self._refuse(value, words, param, ctx)
        return words[asked]

    def _refuse(
        self,
        value: Any,
        words: Mapping[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> NoReturn:
        near = difflib.get_close_matches(str(value).lower(), list(words), n=1)
        hint = f" Did you mean {words[near[0]]}?" if near else ""
        self.fail(f"{value!r} is none of {', '.join(words.values())}.{hint}", param, ctx)


class Octal(_Number):
    """A file mode mask as the shell writes it: ``022``."""

    name = "OCTAL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return int(str(value), 8)
        except ValueError:
            self.fail(f"{value!r} is no octal number such as 022", param, ctx)


class Slots(_Number):
    """How many tasks at once. ``auto`` and 0 leave it to the machine (told as 0)."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if str(value).lower() == "auto":
            return 0
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)
        if number < 0:
            self.fail(f"{number} is less than nothing", param, ctx)
        return number


class EnvOption(click.Option):
    """An option that the environment may give; an error then names the variable."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        hint = super().get_error_hint(ctx)
        if ctx is None or self.name is None:
            return hint
        if ctx.get_parameter_source(self.name) is not ParameterSource.ENVIRONMENT:
            return hint
        names = [self.envvar] if isinstance(self.envvar, str) else list(self.envvar or ())
        return f"{hint} (from the environment: {' or '.join(names)})"


def give_environment(command: click.Command, group: str = "") -> click.Command:
    """Let ``UMBEL_<COMMAND>_<OPTION>`` and ``CELERY_<COMMAND>_<OPTION>`` give every option.

    What the command line says wins. Options that brought their own variables keep them. Commands
    of a group have both names: ``UMBEL_<GROUP>_<COMMAND>_<OPTION>``.
    """
    if isinstance(command, click.Group):
        for each in command.commands.values():
            give_environment(each, f"{command.name}_")
    for parameter in command.params:
        if isinstance(parameter, EnvOption) and parameter.envvar is None and parameter.name:
            end = f"{group}{command.name}_{parameter.name}".upper().replace("-", "_")
            parameter.envvar = [f"UMBEL_{end}", f"CELERY_{end}"]
    return command


_WORD = re.compile(r"[A-Za-z_][\w.]*\Z")


def settings_words(words: tuple[str, ...], ctx: click.Context) -> Mapping[str, str]:
    """Read trailing ``name=value`` words. Raises click.UsageError on any other word."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals or not _WORD.match(name):
            raise click.UsageError(
                f"{word!r} is not expected here: after the options only settings may follow, "
                "as in worker_prefetch_multiplier=1.",
                ctx,
            )
        found[name] = value
    return found
