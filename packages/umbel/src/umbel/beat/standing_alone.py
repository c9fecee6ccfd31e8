"""``run_scheduler``: a scheduler as a process, from its log to its last signal.

Called by ``umbel beat``; ``umbel worker -B`` runs the same in a child of its template.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from importlib.metadata import entry_points
from types import FrameType
from typing import Any

from umbel.app.app import App
from umbel.app.routing import symbol
from umbel.app.signals import Signal, beat_init
from umbel.beat.service import Scheduler
from umbel.errors import ImproperlyConfigured

logger = logging.getLogger("umbel.beat")

ENTRY_POINT_GROUPS = ("umbel.beat_schedulers", "celery.beat_schedulers")
"""Where packages give their scheduler classes short names."""


def run_scheduler(app: App, *, max_interval: float | None = None, init: Signal = beat_init) -> None:
    """Send what is due until SIGTERM or SIGINT. Main thread only; takes over both signals.

    ``init`` is sent when it is ready. The app's task modules are imported first, so that entries
    of every module are known. Raises ImproperlyConfigured for a schedule that cannot be read.
    """
    app.import_modules()
    scheduler = Scheduler(app, max_interval=max_interval)
    scheduler.read_program()
    _stop_on_signals(scheduler.stop)
    init.send(sender=scheduler)
    logger.info("Scheduler: starting; timetable %s", app.connections.timetable)
    scheduler.run()
    logger.info("Scheduler: stopped; the schedule is in its store")


def run_classic(
    app: App,
    chosen: Any,
    *,
    max_interval: float | None = None,
    schedule_filename: str | None = None,
) -> None:
    """Run a scheduler class of another package until SIGTERM or SIGINT; as ``run_scheduler``.

    ``chosen``: the class, ``module:Class``, or a name from an entry point. Raises
    ImproperlyConfigured where that leads to no scheduler.
    """
    from umbel.beat.classic import Service  # noqa: PLC0415 - few programs have such a class

    app.import_modules()
    service = Service(
        app,
        max_interval=max_interval,
        schedule_filename=schedule_filename,
        scheduler_cls=scheduler_class(chosen),
        told=lambda service: _ignore(beat_init.send(sender=service)),
    )
    _stop_on_signals(service.stop)
    logger.info("Scheduler: starting; %s", service.scheduler.info or service.scheduler_cls)
    service.start()
    logger.info("Scheduler: stopped")


def scheduler_class(chosen: Any) -> Any:
    """Return the scheduler class that a setting or option means. Raises ImproperlyConfigured."""
    found = chosen
    if isinstance(chosen, str):
        for group in ENTRY_POINT_GROUPS:
            for entry in entry_points(group=group, name=chosen):
                found = entry.load()
        if found is chosen:
            if "." not in chosen and ":" not in chosen:
                raise ImproperlyConfigured(
                    f"there is no scheduler {chosen!r}: no package that is installed gives one that"
                    " name. Write module:Class, or leave -S and beat_scheduler away for Umbel's own"
                )
            found = symbol(chosen, "-S or beat_scheduler")
    if not callable(getattr(found, "tick", None)):
        raise ImproperlyConfigured(
            f"{chosen!r} is no scheduler: it has no method tick. A scheduler is a subclass of"
            " celery.beat.Scheduler (umbel.beat.classic.Scheduler)"
        )
    return found


def _stop_on_signals(stop: Callable[[], None]) -> None:
    def hear(_number: int, _frame: FrameType | None) -> None:
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)


def _ignore(_: object) -> None:
    return None
