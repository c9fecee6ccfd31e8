"""What the supervisor learns from the template about the user's app: values, never objects.

The supervisor does not import user code, so everything it must know to claim, admit, limit and
settle tasks is in one ``WorkerPlan``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from umbel.app.logs import LogPlan
from umbel.config.bus_names import BusNames
from umbel.model.queues import Queue
from umbel.outbox.relay import RelayPlan
from umbel.worker.facts import WorkerFacts


class TaskTraits(msgspec.Struct, frozen=True, array_like=True):
    """What the supervisor must know of one registered task. Limits in seconds."""

    early_ack: bool
    ack_failure: bool
    ack_timeout: bool
    requeue_lost: bool
    ignore_result: bool
    store_errors: bool
    hard_limit: float | None
    soft_limit: float | None
    send_events: bool = True
    """Monitors are told of its runs, where they are told of any."""
    quarantine_failures: bool = False


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the supervisor works by: the app's settings and the command line, merged."""

    app_name: str
    profile: str
    node: str
    broker_url: str
    broker_options: Mapping[str, Any]
    backend_url: str | None
    backend_options: Mapping[str, Any]
    queues: tuple[Queue, ...]
    tasks: Mapping[str, TaskTraits]
    pool: str
    concurrency: int
    """Slots in all."""
    processes: int
    slots: int
    """Slots in each executor process."""
    lookahead: float
    """Seconds of measured work that may wait at one slot."""
    lookahead_cap: int
    """How many tasks may wait at one slot, at most."""
    lease: float
    renewal: float
    max_deliveries: int | None
    unknown_parks: bool
    """A task nobody registered here waits for a worker that knows it; else it fails at once."""
    hard_limit: float | None
    soft_limit: float | None
    max_tasks_per_child: int | None
    max_memory_per_child: int | None
    start_timeout: float
    """Seconds an executor may take to come up (``worker_proc_alive_timeout``)."""
    shutdown_timeout: float | None
    soft_shutdown_timeout: float
    result_serializer: str
    result_expires: float | None
    failure_expires: float | None
    timezone: str
    task_events: bool
    event_serializer: str = "json"
    heartbeat: float | None = 2.0
    """Seconds between signs of life for monitors; None: no events about the worker itself."""
    bus: BusNames = BusNames()
    remote_control: bool = True
    control_serializer: str = "json"
    accept: tuple[str, ...] = ("json",)
    """Content that commands may have."""
    revoke_keep: float = 86400.0
    """Seconds the broker remembers what was revoked."""
    pool_restarts: bool = False
    facts: WorkerFacts = WorkerFacts()
    banner: str
    log: LogPlan
    purge: bool = False
    listened: frozenset[str] = frozenset()
    """Signals of ends that somebody has connected to: the others are nobody's work."""
    outbox: RelayPlan | None = None
    """The outbox that this worker sends from."""
    http: str | None = None
    """Where health and metrics are told (``worker_http``)."""
    metrics_task_names: int = 100
    schedule: tuple[str, Mapping[str, Any], str] | None = None
    """URL and options of the store of the schedule, and the timetable's name."""
    stall_timeout: float | None = None
    """Seconds for which messages may wait beside free slots (``worker_stall_timeout``)."""
    warnings: tuple[str, ...] = ()


class Planned(msgspec.Struct, frozen=True, array_like=True, tag="P"):
    """The template is ready: the app is imported and this is what it says."""

    plan: WorkerPlan


class Unplanned(msgspec.Struct, frozen=True, array_like=True, tag="U"):
    """The app could not be imported or configured; the text says what happened and what to do."""

    text: str
    exit_code: int


class Forked(msgspec.Struct, frozen=True, array_like=True, tag="F"):
    """An executor was started for this seat."""

    seat: int
    pid: int


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="X"):
    """A child ended. ``status``: exit code, or minus the signal number."""

    pid: int
    status: int


TemplateWord: TypeAlias = Planned | Unplanned | Forked | Gone
"""Everything the template says to the supervisor."""


class Fork(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """Start an executor for this seat. Its socket comes with the frame, as a descriptor."""

    seat: int


class Announce(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """Fire one of the worker's signals, where user code may run.

    ``name``: ``worker_ready``, ``worker_shutting_down`` (with the other three) or
    ``worker_shutdown``.
    """

    name: str
    sig: str = ""
    how: str = ""
    exitcode: int = 0


class Quit(msgspec.Struct, frozen=True, array_like=True, tag="q"):
    """End, once every executor has."""


TemplateOrder: TypeAlias = Fork | Announce | Quit
"""Everything the supervisor says to the template."""
