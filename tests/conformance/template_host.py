"""A template in a process of its own, for tests of pools: pytest has threads and must not fork.

    python -m tests.conformance.template_host DESCRIPTOR POOL CONCURRENCY MAX_TASKS

It is what ``wiring`` forks, started by ``exec`` instead.
"""

from __future__ import annotations

import os
import socket
import sys

from umbel.worker.loading import load
from umbel.worker.template import run_template
from umbel.worker.worker_options import WorkerOptions


def main() -> None:
    descriptor, pool, concurrency, most = sys.argv[1:]
    options = WorkerOptions(
        app="umbel.testing.conformance.pool_tasks",
        pool=pool,
        concurrency=int(concurrency),
        max_tasks_per_child=int(most) or None,
        loglevel="CRITICAL",
    )
    run_template(socket.socket(fileno=int(descriptor)), lambda: load(options))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
