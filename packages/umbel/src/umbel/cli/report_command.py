"""``umbel report``: what a bug report should contain."""

from __future__ import annotations

import platform
import struct
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from umbel.app.banner import delivery_promises
from umbel.cli.invocation import common_options, invocation
from umbel.version import __version__

_PACKAGES = (
    "umbel-celery",
    "celery",
    "msgspec",
    "click",
    "rich",
    "redis",
    "hiredis",
    "gevent",
    "eventlet",
    "uvloop",
    "PyYAML",
    "pydantic",
    "watchfiles",
)


@click.command()
@common_options
def report() -> int:
    """Print versions, platform, settings that differ from the defaults, and what tasks get.

    Passwords and secrets are masked; look it over before you publish it all the same.
    """
    app = invocation().load_app()
    click.echo(bug_report())
    click.echo(f"app -> {app.main or 'default'} (profile {app.settings.profile})\n")
    click.echo(app.conf.humanize(with_defaults=False, censored=True))
    click.echo("\ndelivery of tasks:")
    for name, promise in delivery_promises(app).items():
        click.echo(f"  {name}: {promise}")
    return 0


def bug_report() -> str:
    """Return the versions and the platform, as text."""
    bits = struct.calcsize("P") * 8
    lines = [
        f"software -> umbel:{__version__} py:{platform.python_version()} "
        f"({platform.python_implementation()})",
        f"platform -> {platform.platform()} {bits}bit",
        f"python   -> {sys.executable}",
        "packages -> " + " ".join(installed(_PACKAGES)),
    ]
    return "\n".join(lines)


def installed(names: tuple[str, ...]) -> list[str]:
    """Return ``name:version`` of those packages that are there."""
    found = []
    for name in names:
        try:
            found.append(f"{name}:{version(name)}")
        except PackageNotFoundError:
            continue
    return found
