"""``umbel doctor``: look at everything a first day goes wrong with, and say what to do."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import click

from umbel.app.app import App
from umbel.cli.app_checks import (
    check_app,
    check_extras,
    check_main_trap,
    check_settings,
    check_tasks,
    told_by_warnings,
)
from umbel.cli.findings import Finding, as_json, fail, failed, ok, show, warn
from umbel.cli.invocation import Invocation, common_options, invocation
from umbel.config.urls import censored
from umbel.errors import DuplicateTaskNameWarning, OperationalError, UmbelError
from umbel.ports import Broker

FAILED = 1
_SLOW = 0.05


@runtime_checkable
class Warns(Protocol):
    """A broker that knows what is unwise about the server it uses."""

    def warnings(self) -> Sequence[str]: ...


@click.command()
@click.option("-j", "--json", "json_wanted", is_flag=True, help="Print JSON.")
@common_options
def doctor(json_wanted: bool) -> int:
    """Look for what is wrong, and say what to do. Exit code 1 when something fails.

    Looks at Python and the platform, the app and its settings, the modules of its tasks, the
    packages they need, the broker and the result backend, the clocks and the workers. It sends no
    task.
    """
    served = invocation()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=DuplicateTaskNameWarning)
        findings = [*check_python(), *check_all(served)]
    findings += told_by_warnings(caught)
    if json_wanted:
        click.echo(as_json(findings))
    else:
        color = sys.stdout.isatty() and not served.no_color
        show(findings, color=color, quiet=served.flag("quiet"))
    return FAILED if failed(findings) else 0


def check_all(served: Invocation) -> list[Finding]:
    """Find the app and run every check that it, or the lack of one, allows."""
    spec = served.text("app")
    if spec is not None:
        served.prepare()
        app, findings = check_app(spec)
        return findings + (check_program(app) if app is not None else [])
    app = served.load_app()
    if served.app_object is not None:
        return check_program(app)
    advice = "Say where your app is, and it is looked at too: umbel doctor -A tasks"
    return [warn("app", "-A is not given", advice), *check_program(app, bare=True)]


def check_program(app: App, *, bare: bool = False) -> list[Finding]:
    """Run all checks that need an app. ``bare``: there is no program of the user's behind it."""
    findings = check_settings(app)
    if failed(findings):
        return findings
    if not bare:
        findings += check_extras(app)
        findings += (tasks := check_tasks(app))
        if not failed(tasks):
            findings += check_main_trap(app)
    findings += check_broker(app)
    findings += check_backend(app)
    return findings


def check_python() -> list[Finding]:
    """Look at the interpreter and the platform."""
    version = platform.python_version()
    found = [
        ok("python", f"{version} ({sys.executable})")
        if sys.version_info < (3, 14)
        else warn("python", f"{version}", "Umbel is tested on 3.11 to 3.13.")
    ]
    if hasattr(os, "fork"):
        found.append(ok("platform", platform.platform()))
    else:
        advice = "Use -P threads, asyncio or solo; processes need a Unix system."
        found.append(warn("platform", f"{platform.platform()} cannot fork", advice))
    return found


def check_broker(app: App) -> list[Finding]:
    """Reach the broker, and ask what it knows of itself."""
    url = app.settings.broker_url
    shown = censored(url) if isinstance(url, str) else str(url)
    try:
        broker = app.broker
        version, seconds = _timed(broker.ping)
        return [
            _reached("broker", shown, version, seconds),
            *check_server(broker),
            *check_workers(broker),
            *check_quarantine(app),
        ]
    except UmbelError as error:
        return [fail("broker", f"{shown}: {error}", _reach_advice(shown, error))]


def check_server(broker: Broker) -> list[Finding]:
    """Ask the broker what is unwise about its server: eviction, persistence, clock."""
    if not isinstance(broker, Warns):
        return []
    return [warn("server", text) for text in broker.warnings()] or [
        ok("server", "eviction, persistence and clock are sound")
    ]


def check_workers(broker: Broker) -> list[Finding]:
    """Look whether somebody would run a task."""
    nodes = broker.presences()
    if nodes:
        return [ok("workers", ", ".join(sorted(one.name for one in nodes)))]
    return [warn("workers", "none is alive on this broker", "Start one: umbel worker -A ...")]


def check_quarantine(app: App) -> list[Finding]:
    """Look whether something was set aside that nobody has looked at."""
    if not app.broker.capabilities.quarantine:
        return []
    names = app.quarantine.queues()
    found = [one for one in app.broker.stats(names) if one.quarantined_since is not None]
    if not found:
        return [ok("quarantine", f"nothing was set aside in {', '.join(names)}")]
    told = ", ".join(
        f"{one.name}: {one.quarantined}, the oldest of {one.quarantined_since:%Y-%m-%d %H:%M} UTC"
        for one in found
    )
    return [warn("quarantine", told, "Look at it: umbel quarantine list")]


def check_backend(app: App) -> list[Finding]:
    """Reach the result backend."""
    url = app.settings.result_backend
    if not url:
        return []
    shown = censored(url) if isinstance(url, str) else str(url)
    try:
        version, seconds = _timed(app.result_backend.ping)
    except UmbelError as error:
        return [fail("results", f"{shown}: {error}", _reach_advice(shown, error))]
    return [_reached("results", shown, version, seconds)]


def _timed(call: Callable[[], str]) -> tuple[str, float]:
    """Call twice, since the first call connects; return the answer and the second's seconds."""
    call()
    begin = time.perf_counter()
    answer = call()
    return answer, time.perf_counter() - begin


def _reached(subject: str, url: str, version: str, seconds: float) -> Finding:
    text = f"{url} is {version}, answers in {seconds * 1000:.2f} ms"
    if seconds < _SLOW:
        return ok(subject, text)
    return warn(subject, text, "That is slow: put it nearer, or send many tasks with send_many.")


def _reach_advice(url: str, error: UmbelError) -> str:
    if not isinstance(error, OperationalError):
        return "Correct the URL, or install what it needs."
    if url.startswith("sqlite"):
        return "The directory must exist, on a local disk, and this user must be able to write it."
    return "Is the server running, are host, port and password right, and no firewall between?"
