"""What ``umbel worker`` was asked for: one value, made by the command line or by ``worker_main``.

None means "not given": the app's settings decide. ``wiring.run_worker`` takes it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

POOLS = ("prefork", "threads", "asyncio", "gevent", "eventlet", "solo")
"""The pools there are; ``processes`` is an alias of ``prefork``."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Every option of the worker command. Durations in seconds, memory in KiB, as in Celery."""

    app: str | None = None
    """What ``-A`` said: ``module``, ``module.attr``, ``module:attr``, or a package."""
    app_object: Any = None
    """The app itself, when the worker was started from the program (``app.worker_main``)."""
    workdir: str | None = None
    broker: str | None = None
    result_backend: str | None = None
    overrides: Mapping[str, str] = {}
    """Trailing ``name=value`` words: settings that win over everything."""
    loglevel: str | None = None
    logfile: str | None = None
    no_color: bool = False
    quiet: bool = False
    concurrency: int | None = None
    processes: int | None = None
    pool: str | None = None
    queues: tuple[str, ...] = ()
    exclude_queues: tuple[str, ...] = ()
    hostname: str | None = None
    include: tuple[str, ...] = ()
    beat: bool = False
    """Whether a scheduler runs beside it."""
    task_events: bool | None = None
    heartbeat_interval: float | None = None
    without_heartbeat: bool = False
    optimization: str | None = None
    prefetch_multiplier: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    shutdown_timeout: float | None = None
    http: str | None = None
    """Where health and metrics are told: ``host:port`` or ``unix:/path``."""
    pidfile: str | None = None
    purge: bool = False
    uid: str | None = None
    gid: str | None = None
    umask: int | None = None
