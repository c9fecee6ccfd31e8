"""A real worker on a thread of this process, for tests that call ``delay`` and wait.

It works for any broker, ``memory://`` included. Where a test turns the clock, use ``sandbox``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from umbel.clock import SystemClock
from umbel.testing.in_process import Machine, assemble

if TYPE_CHECKING:
    from umbel.app.app import App


@contextmanager
def running_worker(
    app: App, *, queues: Sequence[str] = (), timeout: float = 10.0
) -> Iterator[Machine]:
    """Run a worker of this app as long as the block lasts; end it warm.

    One task at a time. Time limits are not kept: they need a process of their own. ``timeout``:
    seconds that connecting, and ending, may take; then RuntimeError is raised.
    """
    backend = app.result_backend if app.has_result_backend else None
    machine = assemble(app, app.broker, backend, clock=SystemClock(), queues=queues)
    thread = threading.Thread(target=machine.supervisor.run, name="umbel-test-worker", daemon=True)
    thread.start()
    try:
        if not machine.intake.connected.wait(timeout):
            raise RuntimeError(
                f"The worker of {app!r} did not reach its broker within {timeout:g} s."
            )
        yield machine
    finally:
        machine.supervisor.ask_to_stop()
        thread.join(timeout)
        if thread.is_alive():
            machine.supervisor.ask_to_stop(cold=True)
            raise RuntimeError(
                f"The worker of {app!r} did not end within {timeout:g} s: a task still runs."
            )
