"""One invocation of the command line: the options common to all commands, and the app they mean.

Every command takes these options, and so does ``umbel`` itself: ``umbel -A proj worker`` and
``umbel worker -A proj`` are one. The nearer to the end an option stands, the more it counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from umbel.cli.parameters import EnvOption

if TYPE_CHECKING:
    from umbel.app.app import App

_COMMON: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-A", "--app"),
        {
            "metavar": "APP",
            "envvar": ["UMBEL_APP", "CELERY_APP"],
            "help": "Where the app is: module, module.attr, module:attr or package.",
        },
    ),
    (
        ("-b", "--broker"),
        {
            "metavar": "URL",
            "envvar": ["UMBEL_BROKER", "CELERY_BROKER"],
            "help": "Broker to use instead of the app's.",
        },
    ),
    (
        ("--result-backend",),
        {
            "metavar": "URL",
            "envvar": ["UMBEL_RESULT_BACKEND"],
            "help": "Result backend to use instead of the app's.",
        },
    ),
    (
        ("--config",),
        {
            "metavar": "MODULE",
            "envvar": ["UMBEL_CONFIG", "CELERY_CONFIG"],
            "help": "Module with settings, for an app that has no other source.",
        },
    ),
    (
        ("--workdir",),
        {
            "metavar": "DIR",
            "envvar": ["UMBEL_WORKDIR", "CELERY_WORKDIR"],
            "help": "Change to this directory first.",
        },
    ),
    (("-C", "--no-color"), {"is_flag": True, "default": None, "help": "No colours."}),
    (("-q", "--quiet"), {"is_flag": True, "default": None, "help": "Say less."}),
    (
        ("--debug",),
        {"is_flag": True, "default": None, "help": "Show tracebacks of errors (UMBEL_DEBUG=1)."},
    ),
    (
        ("--skip-checks",),
        {"is_flag": True, "default": None, "hidden": True, "help": "Accepted for Celery's sake."},
    ),
)

_UNPREFIXED = {
    "app": "APP",
    "broker": "BROKER_URL",
    "result_backend": "RESULT_BACKEND",
    "config": "CONFIG_MODULE",
}
"""What the ``celery`` command also reads, as Celery's own does. ``umbel`` does not: a container
with ``APP=web`` would otherwise try to import ``web``."""


class Invocation:
    """What is known so far. One object for all contexts of one command line."""

    def __init__(self, *, app: App | None = None, profile: str = "umbel") -> None:
        self.app_object = app
        self.profile = profile
        self._values: dict[str, Any] = {}

    def note(self, name: str, value: Any, *, typed: bool) -> None:
        """Remember an option. What was typed is not replaced by what the environment says."""
        if typed or name not in self._values:
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Return the value of an option that takes one, else None."""
        value = self._values.get(name)
        if value is None and self.profile == "celery" and name in _UNPREFIXED:
            value = os.environ.get(_UNPREFIXED[name]) or None
        return value

    def flag(self, name: str) -> bool:
        """Tell whether an option without value was given."""
        return bool(self._values.get(name))

    @property
    def debug(self) -> bool:
        return self.flag("debug") or os.environ.get("UMBEL_DEBUG", "") not in ("", "0")

    @property
    def no_color(self) -> bool:
        return self.flag("no_color") or bool(os.environ.get("NO_COLOR"))

    def prepare(self) -> None:
        """Change the directory, and hand the URLs to the settings."""
        if workdir := self.text("workdir"):
            try:
                os.chdir(workdir)
            except OSError as error:
                raise click.BadParameter(
                    f"cannot change to {workdir}: {error.strerror}", param_hint="--workdir"
                ) from None
        self.export()

    def export(self) -> None:
        """Hand the URLs over in the environment, which the settings rank above the program's own.

        Both spellings are set: Umbel's is the strongest, Celery's is what programs look at.
        """
        for name, variable in (
            ("broker", "BROKER_URL"),
            ("result_backend", "RESULT_BACKEND"),
            ("config", "CONFIG_MODULE"),
        ):
            if value := self.text(name):
                os.environ[f"UMBEL_{variable}"] = os.environ[f"CELERY_{variable}"] = value

    def load_app(self) -> App:
        """Return the app: what ``-A`` says, the one the program started with, or a bare one.

        A bare app knows no tasks, but can reach the broker and the results. Raises
        Misled (status 2) when ``-A`` leads nowhere.
        """
        # Here and not above: help, versions and a worker's supervisor do without the app's room.
        from umbel.app.app import App  # noqa: PLC0415
        from umbel.app.finding import AppNotFound, find_app  # noqa: PLC0415

        self.prepare()
        if spec := self.text("app"):
            try:
                return find_app(spec)
            except AppNotFound as error:
                raise Misled(str(error)) from error
        if self.app_object is not None:
            return self.app_object
        return App("default", profile=self.profile, set_as_current=False)


class Misled(click.ClickException):
    """``-A`` leads nowhere. The message may have several lines: the user's traceback."""

    exit_code = 2


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options every command takes. Their values go to the Invocation."""
    for names, attributes in reversed(_COMMON):
        function = click.option(
            *names, cls=EnvOption, expose_value=False, callback=_note, **attributes
        )(function)
    return function


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is None or ctx.resilient_parsing:
        return
    typed = ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ctx.ensure_object(Invocation).note(param.name, value, typed=typed)


def invocation() -> Invocation:
    """Return the invocation that is being served."""
    return click.get_current_context().ensure_object(Invocation)
