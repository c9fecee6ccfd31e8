"""What a worker says of itself when it starts. Values in, text out.

Called where the app is known; the text crosses to the supervisor, which prints it.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from umbel.config.delivery_semantics import AT_MOST_ONCE
from umbel.model.queues import Queue
from umbel.version import __version__

if TYPE_CHECKING:
    from umbel.app.app import App

_WIDTH = 13


def delivery_promise(
    *, early_ack: bool, requeue_lost: bool = True, max_deliveries: int | None = None
) -> str:
    """Say in a few words how often a task runs when something dies under it.

    Early: acknowledged before it runs, so a crash forgets it. Late: acknowledged after it ran; a
    crash repeats it, where ``requeue_lost`` allows, up to ``max_deliveries`` times.
    """
    if early_ack:
        return "at most once (early ack)"
    if not requeue_lost:
        return "at least once, but failed if its process dies (late ack)"
    if max_deliveries is not None:
        return f"at least once (late ack, up to {max_deliveries} deliveries)"
    return "at least once (late ack)"


def delivery_promises(app: App) -> dict[str, str]:
    """Return what each task of the user gets, by name: for banners, reports and inspection."""
    return {
        name: delivery_promise(
            early_ack=task.delivery == AT_MOST_ONCE,
            requeue_lost=bool(task.reject_on_worker_lost),
            max_deliveries=app.settings.task_max_deliveries,
        )
        for name, task in sorted(app.tasks.items())
        if not name.startswith("celery.")
    }


def worker_banner(
    *,
    node: str,
    app: str,
    transport: str,
    results: str | None,
    concurrency: int,
    pool: str,
    queues: Sequence[Queue],
    tasks: Mapping[str, str],
    processes: int = 1,
    task_events: bool = False,
    profile: str = "umbel",
    now: datetime | None = None,
) -> str:
    """Return the banner.

    ``transport`` and ``results`` are URLs already censored; ``tasks`` maps each task's name to its
    ``delivery_promise``.
    """
    moment = f" {now:%Y-%m-%d %H:%M:%S}" if now is not None else ""
    slots = f"{concurrency} ({pool})"
    if processes > 1 and pool != "prefork":
        slots = f"{concurrency} ({pool}, {processes} processes)"
    common = _common(tasks)
    lines = [
        "",
        f" \\|/  {node} · umbel {__version__}",
        f"  |   {platform.platform()} · Python {platform.python_version()}{moment}",
        "",
        "[config]",
        _entry("app", app),
        _entry("transport", transport),
        _entry("results", results or "disabled (no result backend is set)"),
        _entry("concurrency", slots),
        _entry("profile", profile),
        *([_entry("delivery", common)] if common else []),
        _entry("task events", "ON" if task_events else "OFF (-E sends them)"),
        "",
        "[queues]",
        *(_queue_line(queue) for queue in queues),
        "",
        "[tasks]",
        *_task_lines(tasks, common),
        "",
    ]
    return "\n".join(lines)


def _entry(label: str, value: str) -> str:
    return f"  .> {label + ':':<{_WIDTH}}{value}"


def _queue_line(queue: Queue) -> str:
    exchange = queue.exchange or queue.name
    key = queue.routing_key or queue.name
    return f"  .> {queue.name:<16} exchange={exchange}({queue.exchange_type}) key={key}"


def _common(tasks: Mapping[str, str]) -> str | None:
    """Return the promise most tasks have: it is told once, and only the others tell their own."""
    promises = Counter(tasks.values()).most_common(1)
    return promises[0][0] if promises else None


def _task_lines(tasks: Mapping[str, str], common: str | None) -> list[str]:
    if not tasks:
        return ["  (none: does the app's module import the modules of the tasks?)"]
    width = max(map(len, tasks))
    return [
        f"  . {name:<{width}}  {promise}" if promise != common else f"  . {name}"
        for name, promise in sorted(tasks.items())
    ]
