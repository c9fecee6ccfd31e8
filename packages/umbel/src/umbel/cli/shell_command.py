"""``umbel shell``: Python with the app and its tasks at hand."""

from __future__ import annotations

import code
import importlib
from typing import Any

import click

from umbel.app.app import App
from umbel.cli.invocation import common_options, invocation

_CANVAS = ("chain", "chord", "chunks", "group", "signature", "xmap", "xstarmap")


@click.command()
@click.option("-I", "--ipython", "kind", flag_value="ipython", help="IPython.")
@click.option("-B", "--bpython", "kind", flag_value="bpython", help="bpython.")
@click.option("--python", "kind", flag_value="python", help="Python's own shell.")
@click.option("-T", "--without-tasks", is_flag=True, help="Do not bring the tasks by their names.")
@common_options
def shell(kind: str | None, without_tasks: bool) -> int:
    """Start Python with the app, its tasks and the workflow words at hand.

    IPython or bpython where one is installed, else Python's own shell. The app is app and celery;
    tasks go by the last part of their names.
    """
    app = invocation().load_app()
    names = names_of(app, with_tasks=not without_tasks)
    start = {"ipython": _ipython, "bpython": _bpython, "python": _python}
    for each in [kind] if kind else ["ipython", "bpython", "python"]:
        try:
            start[each](names)
        except ImportError:
            if kind is not None:
                raise click.ClickException(f"{kind} is not installed: pip install {kind}") from None
        else:
            return 0
    return 1


def names_of(app: App, *, with_tasks: bool) -> dict[str, Any]:
    """Return what the shell knows from the start."""
    canvas = importlib.import_module("umbel.workflows.canvas")
    signatures = importlib.import_module("umbel.workflows.signature")
    names: dict[str, Any] = {"app": app, "celery": app}
    for name in _CANVAS:
        names[name] = getattr(canvas, name, None) or getattr(signatures, name)
    if with_tasks:
        app.import_modules()
        app.finalize()
        for name, task in sorted(app.tasks.items()):
            if not name.startswith(("celery.", "umbel.")):
                names.setdefault(name.rpartition(".")[2], task)
    return names


def _ipython(names: dict[str, Any]) -> None:
    importlib.import_module("IPython").start_ipython(argv=[], user_ns=names)


def _bpython(names: dict[str, Any]) -> None:
    importlib.import_module("bpython").embed(names)


def _python(names: dict[str, Any]) -> None:
    known = ", ".join(sorted(names))
    code.interact(banner=f"At hand: {known}", local=names, exitmsg="")
