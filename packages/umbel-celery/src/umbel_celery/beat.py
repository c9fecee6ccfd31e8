"""``celery.beat``: the classes that schedulers of other packages subclass."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from umbel.app.signals import beat_embedded_init, beat_init
from umbel.beat.classic import (
    DEFAULT_MAX_INTERVAL,
    BeatLazyFunc,
    PersistentScheduler,
    ScheduleEntry,
    Scheduler,
    SchedulingError,
    Service,
)


def EmbeddedService(app: Any, max_interval: float | None = None, **_: Any) -> threading.Thread:  # noqa: N802 - Celery's name
    """Return a thread that, once started, runs a scheduler of this app until its ``stop()``."""
    service = Service(app, max_interval=max_interval, told=_tell)
    thread = threading.Thread(target=service.start, name="Beat", daemon=True)
    thread.stop = service.stop  # type: ignore[attr-defined]  # as Celery's threads have it
    thread.service = service  # type: ignore[attr-defined]  # as above
    return thread


def _tell(service: Service) -> None:
    beat_init.send(sender=service)
    beat_embedded_init.send(sender=service)


class event_t(NamedTuple):  # noqa: N801 - Celery's name
    """When to look at an entry; Umbel's schedulers keep no heap of these."""

    time: float
    priority: int
    entry: ScheduleEntry


__all__ = [
    "DEFAULT_MAX_INTERVAL",
    "BeatLazyFunc",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "event_t",
]
