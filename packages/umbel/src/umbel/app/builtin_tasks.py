"""Tasks that every app has: those whose messages Celery's clients send without asking.

Constructed when an app is finalized. ``celery.map`` and ``celery.starmap`` are what ``task.map``
and ``task.chunks`` send, ``celery.accumulate`` gathers values, ``celery.chord_unlock`` goes on from
a chord's header to its body, ``celery.backend_cleanup`` is what a beat sends at night. The others
are names of signatures, which nobody sends as messages; they fail and say so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from umbel.app import making
from umbel.app.errbacks_due import ENDED_OPTIONS, ERRBACKS_OPTIONS, call_errbacks, tell_end
from umbel.app.headers_over import UNLOCK_OPTIONS, chord_unlock
from umbel.errors import UsageError
from umbel.workflows.signature import Signature

if TYPE_CHECKING:
    from umbel.app.app import App

_WORKFLOWS = ("chain", "group", "chord", "chunks")


def construct(app: App) -> None:
    """Register them, where the app has no task of that name already."""
    tasks = {
        "celery.accumulate": accumulate,
        "celery.backend_cleanup": backend_cleanup,
        "celery.map": _mapping(app),
        "celery.starmap": _star_mapping(app),
        **{f"celery.{kind}": _refusing(kind) for kind in _WORKFLOWS},
    }
    for name, function in tasks.items():
        making.make_task(app, function, {"name": name}, lent=True)
    making.make_task(app, chord_unlock, UNLOCK_OPTIONS, lent=True)
    making.make_task(app, call_errbacks, ERRBACKS_OPTIONS, lent=True)
    making.make_task(app, tell_end, ENDED_OPTIONS, lent=True)


def accumulate(*args: Any, index: int | None = None) -> Any:
    """Return the arguments, or the one at ``index``."""
    return args if index is None else args[index]


def backend_cleanup() -> None:
    """Return at once: each of Umbel's result stores drops by itself what has expired."""


def _mapping(app: App) -> Callable[..., Any]:
    def map_task(task: Any, it: Iterable[Any]) -> list[Any]:
        """Call the task, here and one after another, with each item; return the values."""
        run = _callable(app, task)
        return [run(item) for item in it]

    return map_task


def _star_mapping(app: App) -> Callable[..., Any]:
    def starmap_task(task: Any, it: Iterable[Iterable[Any]]) -> list[Any]:
        """Do as ``map_task``; each item is all the arguments of one call."""
        run = _callable(app, task)
        return [run(*item) for item in it]

    return starmap_task


def _callable(app: App, call: Any) -> Callable[..., Any]:
    task = Signature.from_dict(call, app=app).type

    def run(*args: Any) -> Any:
        value = task(*args)
        if inspect.iscoroutine(value):
            from umbel.app.running import run_coroutine  # noqa: PLC0415 - it brings asyncio

            return run_coroutine(value)
        return value

    return run


def _refusing(kind: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> None:
        raise UsageError(
            f"celery.{kind} is the name of a signature, not of a task that runs: send the {kind} "
            "itself, by its apply_async."
        )

    return refuse
