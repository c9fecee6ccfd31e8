"""``run_scheduler``: a scheduler as a process, from its log to its last signal.

Called by ``umbel beat``; ``umbel worker -B`` runs the same in a child of its template.
"""

from __future__ import annotations

import logging
import signal
from types import FrameType

from umbel.app.app import App
from umbel.app.signals import Signal, beat_init
from umbel.beat.service import Scheduler

logger = logging.getLogger("umbel.beat")


def run_scheduler(app: App, *, max_interval: float | None = None, init: Signal = beat_init) -> None:
    """Send what is due until SIGTERM or SIGINT. Main thread only; takes over both signals.

    ``init`` is sent when it is ready. The app's task modules are imported first, so that entries
    of every module are known. Raises ImproperlyConfigured for a schedule that cannot be read.
    """
    app.import_modules()
    scheduler = Scheduler(app, max_interval=max_interval)
    scheduler.read_program()

    def stop(_number: int, _frame: FrameType | None) -> None:
        scheduler.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    init.send(sender=scheduler)
    logger.info("Scheduler: starting; timetable %s", app.connections.timetable)
    scheduler.run()
    logger.info("Scheduler: stopped; the schedule is in its store")
