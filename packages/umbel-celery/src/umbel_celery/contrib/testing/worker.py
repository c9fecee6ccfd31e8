"""``celery.contrib.testing.worker``: a worker on a thread of the test's process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from umbel.app.joining import allow_join_result
from umbel.app.signals import test_worker_started, test_worker_starting, test_worker_stopped
from umbel.testing.worker_thread import running_worker

if TYPE_CHECKING:
    from umbel.app.app import App

WORKER_LOGLEVEL = "error"


class TestWorkController:
    """The worker as ``start_worker`` gives it."""

    __test__ = False

    def __init__(self, app: App, machine: Any) -> None:
        self.app = app
        self._machine = machine

    def ensure_started(self) -> None:
        """Do nothing: it is started when it is given."""

    def reload(self, *_: Any, **__: Any) -> None:
        """Do nothing: a worker in this process sees new tasks at once."""

    def stop(self, *_: Any, **__: Any) -> None:
        """Have it end when the block does."""
        self._machine.supervisor.ask_to_stop()


@contextmanager
def start_worker(
    app: App,
    concurrency: int = 1,  # noqa: ARG001 - one task at a time, as Celery's default
    pool: str = "solo",  # noqa: ARG001 - as above
    loglevel: str | int = WORKER_LOGLEVEL,  # noqa: ARG001 - the test's own logging is left alone
    logfile: str | None = None,  # noqa: ARG001 - as above
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **_: Any,
) -> Iterator[TestWorkController]:
    """Run a worker of this app as long as the block lasts.

    With ``perform_ping_check`` the task ``celery.ping`` must be known
    (``import celery.contrib.testing.tasks``) and answer within ``ping_task_timeout`` seconds.
    """
    test_worker_starting.send(sender=app)
    if perform_ping_check and "celery.ping" not in app.tasks:
        raise AssertionError(
            "start_worker asks the worker with the task celery.ping, which this app does not have:"
            " import celery.contrib.testing.tasks, or give perform_ping_check=False."
        )
    with running_worker(app, timeout=shutdown_timeout) as machine:
        worker = TestWorkController(app, machine)
        test_worker_started.send(sender=app, worker=worker)
        try:
            if perform_ping_check:
                with allow_join_result():
                    answer = app.tasks["celery.ping"].delay().get(timeout=ping_task_timeout)
                assert answer == "pong", answer
            yield worker
        finally:
            test_worker_stopped.send(sender=app, worker=worker)


def setup_app_for_worker(app: App, loglevel: str | int, logfile: str | None) -> None:  # noqa: ARG001 - Celery's
    """Make the app ready: its tasks, and nothing about logging."""
    app.finalize()
    logging.getLogger("celery").debug("%r is ready for a test", app)


__all__ = ["WORKER_LOGLEVEL", "TestWorkController", "setup_app_for_worker", "start_worker"]
