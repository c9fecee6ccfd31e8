"""From the options to an imported app and the plan of its worker.

Runs where user code may run: in the template, or, for the ``solo`` pool, in the worker itself.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.app import logs
from umbel.app.banner import delivery_promises, worker_banner
from umbel.app.finding import find_app
from umbel.config.bus_names import bus_names
from umbel.config.driver_options import backend_options, broker_options
from umbel.config.settings import Settings
from umbel.config.urls import censored
from umbel.config.without_effect import set_without_effect, told_without_effect
from umbel.errors import ImproperlyConfigured
from umbel.model.queues import Queue
from umbel.outbox.relay import RelayPlan, relay_plan
from umbel.wire.serializers import SERIALIZERS
from umbel.worker.announcing import WorkerFace, face_of, listened, tell_init, tell_setup
from umbel.worker.facts import facts_of
from umbel.worker.green_libraries import EventletLibrary, GeventLibrary, green_library
from umbel.worker.health.address import parse_address
from umbel.worker.plan import TaskTraits, WorkerPlan
from umbel.worker.scheduler_keeper import check_schedule
from umbel.worker.worker_options import POOLS, WorkerOptions

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task

logger = logging.getLogger("umbel.worker")

HEARTBEAT = 2.0
"""Seconds between signs of life for monitors; Celery's monitors count on it."""
COROUTINES = 100
"""Slots of the ``asyncio`` pool when nobody says: they cost next to nothing."""
_GREEN = ("gevent", "eventlet")


class Loaded(msgspec.Struct):
    """An imported app and the plan of its worker. Lives where user code may run."""

    app: Any
    plan: WorkerPlan
    face: WorkerFace
    green: GeventLibrary | EventletLibrary | None

    @property
    def log_plan(self) -> logs.LogPlan:
        return self.plan.log

    def warn(self, text: str) -> None:
        """Have the supervisor log this when it starts."""
        self.plan = msgspec.structs.replace(self.plan, warnings=(*self.plan.warnings, text))


def load(options: WorkerOptions) -> Loaded:
    """Import the app and make the plan.

    Raises ImproperlyConfigured for everything that is wrong with the options, the settings or the
    app, and whatever the user's modules raise.
    """
    if options.workdir:
        os.chdir(options.workdir)
    # Patching must come before the first import of user code, so before anybody can know what the
    # settings say: only the command line can choose a green pool.
    green = green_library(options.pool) if options.pool in _GREEN else None
    if green is not None:
        green.patch()
    app = _app(options)
    _apply(app, options)
    settings: Settings = app.settings
    pool = _pool(options, settings)
    node = logs.expand_node_format(
        options.hostname or "celery@%h", f"celery@{socket.gethostname()}"
    )
    if "@" not in node:
        node = f"{node}@{socket.gethostname()}"
    log = logs.log_plan(
        settings,
        node=node,
        loglevel=options.loglevel,
        logfile=options.logfile or settings.worker_logfile,
        no_color=options.no_color,
    )
    logs.setup_logging(log)
    face = face_of(app, node, options)
    tell_init(face)
    app.import_modules()
    app.finalize()
    logs.redirect_standard_streams(log)
    tell_setup(face)
    if options.beat:
        if green is not None:
            raise ImproperlyConfigured(
                f"-B does not go with the pool {options.pool}: run umbel beat beside the worker"
            )
        check_schedule(app)
    return Loaded(app, make_plan(app, options, pool=pool, node=node, log=log), face, green)


def _app(options: WorkerOptions) -> App:
    if options.app_object is not None:
        app: App = options.app_object
        return app
    if options.app is None:
        raise ImproperlyConfigured("no app was named: give -A with the module that holds it")
    return find_app(options.app)


def _apply(app: App, options: WorkerOptions) -> None:
    """Give the app the settings that came with the command line; they win over its own."""
    given: dict[str, Any] = {
        "broker_url": options.broker,
        "result_backend": options.result_backend,
        "worker_concurrency": options.concurrency,
        "worker_processes": options.processes,
        "worker_prefetch_multiplier": options.prefetch_multiplier,
        "task_time_limit": options.time_limit,
        "task_soft_time_limit": options.soft_time_limit,
        "worker_max_tasks_per_child": options.max_tasks_per_child,
        "worker_max_memory_per_child": options.max_memory_per_child,
        "worker_shutdown_timeout": options.shutdown_timeout,
        "worker_send_task_events": options.task_events,
        "worker_http": options.http,
    }
    if options.include:
        given["include"] = (*app.settings.include, *options.include)
    words = {name: value for name, value in given.items() if value is not None}
    app.conf.set_from_command_line({**words, **options.overrides}, "worker")


def _pool(options: WorkerOptions, settings: Settings) -> str:
    pool = options.pool or settings.worker_pool
    if pool == "processes":
        return "prefork"
    if pool not in POOLS:
        known = ", ".join(POOLS)
        raise ImproperlyConfigured(f"there is no pool {pool!r}; the pools are {known}")
    if pool in _GREEN and options.pool is None:
        raise ImproperlyConfigured(
            f"the setting worker_pool asks for {pool!r}, which must patch the standard library"
            f" before anything is imported: give -P {pool} on the command line instead"
        )
    return pool


def _check_start_method(settings: Settings) -> None:
    if settings.worker_pool_start_method != "fork":
        raise ImproperlyConfigured(
            f"worker_pool_start_method is {settings.worker_pool_start_method!r}, and executors are"
            " forked, always from a process that has no threads: leave it at 'fork'"
        )


def make_plan(
    app: App, options: WorkerOptions, *, pool: str, node: str, log: logs.LogPlan
) -> WorkerPlan:
    """Return everything the supervisor works by. Raises ImproperlyConfigured."""
    settings: Settings = app.settings
    _check_start_method(settings)
    processes, slots = _size(settings, pool)
    broker_url = _broker_url(settings)
    queues = _queues(app, options)
    tasks = {name: _traits(task) for name, task in app.tasks.items()}
    backend_url = settings.result_backend if app.has_result_backend else None
    umbel = settings.profile == "umbel"
    plan = WorkerPlan(
        app_name=app.main or "default",
        profile=settings.profile,
        node=node,
        broker_url=broker_url,
        broker_options=_plain(broker_options(settings, broker_url)),
        backend_url=backend_url,
        backend_options=_plain(backend_options(settings, backend_url)),
        queues=queues,
        tasks=tasks,
        pool=pool,
        concurrency=processes * slots,
        processes=processes,
        slots=slots,
        lookahead=settings.worker_lookahead,
        lookahead_cap=_lookahead_cap(settings),
        lease=settings.worker_lease,
        renewal=settings.worker_lease_renewal,
        stall_timeout=settings.worker_stall_timeout,
        listened=listened(),
        http=_http(settings),
        metrics_task_names=settings.worker_metrics_task_names,
        schedule=_schedule(app, settings),
        max_deliveries=settings.task_max_deliveries,
        unknown_parks=umbel,
        hard_limit=settings.task_time_limit,
        soft_limit=settings.task_soft_time_limit,
        max_tasks_per_child=settings.worker_max_tasks_per_child,
        max_memory_per_child=settings.worker_max_memory_per_child,
        start_timeout=settings.worker_proc_alive_timeout,
        shutdown_timeout=settings.worker_shutdown_timeout,
        soft_shutdown_timeout=settings.worker_soft_shutdown_timeout,
        result_serializer=settings.result_serializer,
        result_expires=settings.result_expires,
        failure_expires=settings.result_failure_expires,
        timezone=str(app.timezone),
        task_events=settings.worker_send_task_events,
        event_serializer=settings.event_serializer,
        heartbeat=None if options.without_heartbeat else options.heartbeat_interval or HEARTBEAT,
        bus=bus_names(settings),
        remote_control=settings.worker_enable_remote_control,
        control_serializer=settings.task_serializer,
        accept=tuple(SERIALIZERS.content_types(settings.accept_content)),
        revoke_keep=settings.task_revoke_keep,
        pool_restarts=settings.worker_pool_restarts,
        facts=facts_of(app, broker_url),
        banner="",
        warnings=_in_vain(app),
        purge=options.purge,
        outbox=_outbox(settings),
        log=log,
    )
    return msgspec.structs.replace(plan, banner=_banner(plan, app, datetime.now(app.timezone)))


def _outbox(settings: Settings) -> RelayPlan | None:
    plan = relay_plan(settings) if settings.outbox_relay else None
    if plan is None:
        return None
    return msgspec.structs.replace(plan, broker_options=_plain(plan.broker_options))


def _in_vain(app: App) -> tuple[str, ...]:
    """One line about everything that was set and does nothing here."""
    usual = app.settings.task_default_rate_limit
    limited = [name for name, task in app.tasks.items() if task.rate_limit not in (None, usual)]
    told = told_without_effect(set_without_effect(app.conf), limited)
    return () if told is None else (told,)


def _broker_url(settings: Settings) -> str:
    url = settings.broker_read_url or settings.broker_url
    if not url:
        raise ImproperlyConfigured("the setting broker_url is empty: say where the tasks come from")
    return url


def _http(settings: Settings) -> str | None:
    """Return where health is told, checked here so that a wrong word ends the worker at once."""
    if not settings.worker_http:
        return None
    return str(parse_address(settings.worker_http))


def _schedule(app: App, settings: Settings) -> tuple[str, Mapping[str, Any], str] | None:
    """Return where the schedule rests, for the metrics; None where nothing can keep one."""
    if not settings.worker_http:
        return None
    try:
        url, options = app.connections.schedule_place()
    except ImproperlyConfigured:
        return None
    return url, _plain(options), app.connections.timetable


def _lookahead_cap(settings: Settings) -> int:
    if settings.worker_disable_prefetch:
        return 1
    # Celery's 0 means no cap; the measured time bounds it all the same.
    return settings.worker_prefetch_multiplier or 1024


def _size(settings: Settings, pool: str) -> tuple[int, int]:
    """Processes, and slots in each."""
    wanted = settings.worker_concurrency
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted in (None, 0, "auto", "0"):
        slots = COROUTINES if pool == "asyncio" else cpus
    else:
        assert wanted is not None
        slots = int(wanted)
    if pool == "solo":
        return 1, 1
    if pool == "prefork":
        return slots, 1
    return settings.worker_processes or 1, slots


def _queues(app: App, options: WorkerOptions) -> tuple[Queue, ...]:
    router = app.router
    if options.queues:
        chosen = [router.named(name) for name in options.queues]
    else:
        chosen = [q for q in router.queues.values() if q.name not in options.exclude_queues]
    if not chosen:
        raise ImproperlyConfigured(
            f"no queue is left to consume: -X leaves out {', '.join(options.exclude_queues)}"
        )
    return tuple(chosen)


def _traits(task: Task[..., Any]) -> TaskTraits:
    return TaskTraits(
        early_ack=not task.acks_late,
        ack_failure=task.acks("failure"),
        ack_timeout=task.acks("timeout"),
        requeue_lost=bool(task.reject_on_worker_lost),
        ignore_result=bool(task.ignore_result),
        store_errors=bool(task.store_errors_even_if_ignored),
        hard_limit=task.time_limit,
        soft_limit=task.soft_time_limit,
        send_events=bool(task.send_events),
        quarantine_failures=bool(task.quarantine_failures),
    )


def _banner(plan: WorkerPlan, app: App, now: datetime) -> str:
    return worker_banner(
        node=plan.node,
        app=plan.app_name,
        transport=censored(plan.broker_url),
        results=censored(plan.backend_url) if plan.backend_url else None,
        concurrency=plan.processes if plan.pool == "prefork" else plan.slots,
        pool=plan.pool,
        queues=plan.queues,
        tasks=delivery_promises(app),
        processes=plan.processes,
        task_events=plan.task_events,
        profile=plan.profile,
        now=now,
    )


def _plain(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options that can cross to the supervisor; refuse the others by name."""
    plain = dict(options or {})
    for name, value in plain.items():
        try:
            msgspec.msgpack.encode(value)
        except (TypeError, OverflowError) as error:
            raise ImproperlyConfigured(
                f"the transport option {name!r} has a value of type {type(value).__name__}; the"
                " worker's supervisor needs numbers, texts, lists or mappings of these"
            ) from error
    return plain
