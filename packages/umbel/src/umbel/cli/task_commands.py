"""``umbel call`` and ``umbel result``: send one task, look at one result."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from umbel.app.app import App
from umbel.app.finding import AppNotFound, find_app
from umbel.app.handles import AsyncResult
from umbel.cli.invocation import common_options, invocation
from umbel.cli.parameters import EnvOption
from umbel.errors import ResultTimeout

FAILED = 1


@click.command()
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[ARG | NAME=VALUE]...")
@click.option("-a", "--args", cls=EnvOption, metavar="JSON", help="Positional arguments: a list.")
@click.option("-k", "--kwargs", cls=EnvOption, metavar="JSON", help="Named arguments: an object.")
@click.option("--eta", cls=EnvOption, metavar="TIME", help="Not before this time (ISO 8601).")
@click.option("--countdown", cls=EnvOption, type=float, help="Not before so many seconds passed.")
@click.option("--expires", cls=EnvOption, metavar="TIME", help="Not after: a time, or seconds.")
@click.option("--serializer", cls=EnvOption, metavar="NAME", help="json, pickle, yaml, msgpack.")
@click.option("--queue", cls=EnvOption, metavar="NAME", help="Queue to send to.")
@click.option("--exchange", cls=EnvOption, metavar="NAME", help="Exchange to send to.")
@click.option("--routing-key", cls=EnvOption, metavar="KEY", help="Routing key to send with.")
@click.option("--priority", cls=EnvOption, type=click.IntRange(0, 9), help="0 to 9.")
@click.option("--task-id", cls=EnvOption, metavar="ID", help="The id to give the task.")
@click.option("-w", "--wait", is_flag=True, help="Wait for the result and print it.")
@click.option(
    "--timeout", cls=EnvOption, type=click.FloatRange(min=0), help="Seconds to wait at most."
)
@common_options
def call(name: str, words: tuple[str, ...], wait: bool, timeout: float | None, **given: Any) -> int:
    """Send the task NAME and print its id, or with --wait its result.

    \b
    umbel call -A tasks tasks.add 2 3 --wait
    umbel call -A tasks tasks.mail to=ann@example.com body='"42"'
    umbel call -A proj proj.add -a '[2, 3]' --countdown 10

    A word is read as JSON where it is JSON, else it is a string. Without -A the app is looked for
    in the module the task's name begins with.
    """
    args, kwargs = _arguments(words, given.pop("args"), given.pop("kwargs"))
    app = _app_of(name)
    options = {key: value for key, value in given.items() if value is not None}
    if "eta" in options:
        options["eta"] = _moment(options["eta"], "--eta")
    if "expires" in options:
        options["expires"] = _seconds_or_moment(options["expires"])
    task = app.tasks.get(name)
    if task is not None:
        result = task.apply_async(tuple(args), dict(kwargs), **options)
    else:
        _warn_unknown(app, name)
        result = app.send_task(name, args=tuple(args), kwargs=dict(kwargs), **options)
    if not wait:
        click.echo(result.id)
        return 0
    if not invocation().flag("quiet"):
        click.echo(result.id, err=True)
    return show(result, timeout=timeout)


@click.command()
@click.argument("task_id")
@click.option("-t", "--task", cls=EnvOption, metavar="NAME", help="Name of the task (its backend).")
@click.option("--traceback", is_flag=True, help="Print the traceback instead of the result.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print everything known, as JSON.")
@click.option("--no-wait", is_flag=True, help="Print the state if the task is not done.")
@click.option(
    "--timeout", cls=EnvOption, type=click.FloatRange(min=0), help="Seconds to wait at most."
)
@common_options
def result(
    *,
    task_id: str,
    task: str | None,
    traceback: bool,
    as_json: bool,
    no_wait: bool,
    timeout: float | None,
) -> int:
    """Print the result of the task TASK_ID, waiting for it if need be.

    Exit code 1 when the task failed, was revoked, or is not done in time.
    """
    app = invocation().load_app()
    if task is not None and task not in app.tasks:
        raise click.BadParameter(_unknown(app, task), param_hint="--task")
    handle = app.tasks[task].AsyncResult(task_id) if task else app.AsyncResult(task_id)
    if no_wait and not handle.ready():
        click.echo(handle.state)
        return FAILED
    if as_json:
        return _show_json(handle, timeout)
    return show(handle, timeout=timeout, traceback=traceback)


def show(handle: AsyncResult[Any], *, timeout: float | None, traceback: bool = False) -> int:
    """Wait for a result and print it; return the exit code."""
    try:
        value = handle.get(timeout=timeout, propagate=False)
    except ResultTimeout:
        return _not_in_time(handle, timeout)
    if traceback:
        click.echo(handle.traceback or "")
        return 0
    if handle.successful():
        click.echo(value if isinstance(value, str) else repr(value))
        return 0
    click.echo(f"{handle.state}: {type(value).__name__}: {value}", err=True)
    if handle.traceback:
        click.echo("The traceback: umbel result --traceback " + handle.id, err=True)
    return FAILED


def _show_json(handle: AsyncResult[Any], timeout: float | None) -> int:
    try:
        value = handle.get(timeout=timeout, propagate=False)
    except ResultTimeout:
        return _not_in_time(handle, timeout)
    good = handle.successful()
    done = handle.date_done
    document = {
        "id": handle.id,
        "state": handle.state,
        "result": value if good else repr(value),
        "traceback": handle.traceback,
        "date_done": done.isoformat() if isinstance(done, datetime) else done,
    }
    click.echo(json.dumps(document, default=repr, ensure_ascii=False))
    return 0 if good else FAILED


def _not_in_time(handle: AsyncResult[Any], timeout: float | None) -> int:
    click.echo(
        f"No result after {timeout:g} s: the state of {handle.id} is {handle.state}. "
        "umbel status shows whether a worker is there.",
        err=True,
    )
    return FAILED


# --- from words to arguments ----------------------------------------------------------------------


def _arguments(
    words: Sequence[str], args_json: str | None, kwargs_json: str | None
) -> tuple[list[Any], Mapping[str, Any]]:
    args = _json(args_json, list, "--args", "a list, as in '[2, 3]'") or []
    kwargs = _json(kwargs_json, dict, "--kwargs", "an object, as in '{\"x\": 2}'") or {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(value)
        else:
            args.append(_value(word))
    return args, kwargs


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def _json(text: str | None, kind: type, option: str, wanted: str) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=option) from None
    if not isinstance(value, kind):
        raise click.BadParameter(f"must be {wanted}, not {text}", param_hint=option)
    return value


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time such as 2030-01-31T12:00:00+00:00", param_hint=option
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _seconds_or_moment(text: str) -> float | datetime:
    try:
        return float(text)
    except ValueError:
        return _moment(text, "--expires")


# --- from a task's name to its app ----------------------------------------------------------------


def _app_of(name: str) -> App:
    """Return the app to send with: as told, else the one in the module the name begins with."""
    served = invocation()
    told = served.text("app") or served.text("broker") or served.app_object
    module = name.rpartition(".")[0]
    if told or not module:
        return served.load_app()
    served.prepare()
    try:
        return find_app(module)
    except AppNotFound:
        return served.load_app()


def _warn_unknown(app: App, name: str) -> None:
    if not invocation().flag("quiet"):
        click.echo(f"Note: {_unknown(app, name)} It is sent by name all the same.", err=True)


def _unknown(app: App, name: str) -> str:
    near = difflib.get_close_matches(name, list(app.tasks), n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"This app knows no task {name!r}.{hint}"
