"""``celery.bin.base``: what commands of other packages are made with."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

import click

from umbel.app.log_records import level_number
from umbel.app.signals import user_preload_options
from umbel.cli.invocation import Invocation as CLIContext


class CeleryOption(click.Option):
    """An option with a heading in Celery's help, which Umbel's help does not use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group = kwargs.pop("help_group", None)
        kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)


class CeleryCommand(click.Command):
    """A command of another package: ``ctx.obj.app`` is the app."""


class CeleryDaemonCommand(CeleryCommand):
    """A command that runs for long; Umbel puts none of them into the background."""


class CommaSeparatedList(click.ParamType[Any]):
    """Words with commas between them."""

    name = "comma separated list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002 - click's
        return [] if not value else value.split(",") if isinstance(value, str) else value


class JsonArray(click.ParamType[Any]):
    """A JSON array."""

    name = "json array"
    _kind: type = list

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, self._kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as error:
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)
        if not isinstance(found, self._kind):
            self.fail(f"{value!r} is no {self.name}", param, ctx)
        return found


class JsonObject(JsonArray):
    """A JSON object."""

    name = "json object"
    _kind = dict


class ISO8601DateTime(click.ParamType[Any]):
    """A moment."""

    name = "iso-86091"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class LogLevel(click.Choice[Any]):
    """A level of logging, by name or number."""

    def __init__(self) -> None:
        super().__init__(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"))

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, int):
            return value
        return level_number(super().convert(str(value).upper(), param, ctx))


COMMA_SEPARATED_LIST = CommaSeparatedList()
JSON_ARRAY = JsonArray()
JSON_OBJECT = JsonObject()
ISO8601 = ISO8601DateTime()
LOG_LEVEL = LogLevel()


def handle_preload_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command so that ``user_preload_options`` is sent before it runs."""

    @wraps(f)
    def run(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        if user_preload_options.receivers:
            app = ctx.ensure_object(CLIContext).app
            user_preload_options.send(sender=f, app=app, options=kwargs)
        return f(ctx, *args, **kwargs)

    return run


__all__ = [
    "COMMA_SEPARATED_LIST",
    "ISO8601",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "CLIContext",
    "CeleryCommand",
    "CeleryDaemonCommand",
    "CeleryOption",
    "handle_preload_options",
]
