"""``run_worker``: the whole machine, put together in one place.

The order matters. The template is forked first, from a process without threads; only then are
drivers opened and threads started. The supervisor learns everything it needs from the template's
plan and never imports the app.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable
from types import FrameType

from umbel.app import logs
from umbel.clock import Clock, SystemClock
from umbel.drivers.opening import open_backend, open_broker, scheme_of
from umbel.errors import ImproperlyConfigured, UmbelError
from umbel.model.presence import Presence
from umbel.ports import Broker, Pool, ResultBackend
from umbel.version import __version__
from umbel.worker.announcing import announce, tell_process_init
from umbel.worker.bus_station import open_station
from umbel.worker.execution import Execution
from umbel.worker.health.health_station import open_health
from umbel.worker.identity import become
from umbel.worker.intake import Intake
from umbel.worker.loading import load
from umbel.worker.outbox_keeper import outbox_relayed
from umbel.worker.pidfile import PidFile
from umbel.worker.plan import Announce, WorkerPlan
from umbel.worker.pools.process import ProcessPool
from umbel.worker.pools.solo import SoloPool
from umbel.worker.scheduler_keeper import SchedulerKeeper
from umbel.worker.signal_handling import end_on_signals
from umbel.worker.supervisor import Supervisor
from umbel.worker.template import run_template
from umbel.worker.template_link import TemplateGone, TemplateLink
from umbel.worker.worker_options import WorkerOptions

TEMPLATE_PATIENCE = 5.0
"""Seconds that receivers of ``worker_shutdown`` have at the very end."""

LAST_EVENTS = 2.0
"""Seconds the last events have to be sent."""

logger = logging.getLogger("umbel.worker")


def run_worker(options: WorkerOptions) -> int:
    """Run one worker in this process until it is told to stop; return its exit code.

    0: a warm end; 1: cold, or a failure that was logged; the error of a wrong option, setting or
    app is raised as ImproperlyConfigured. Takes over this process's signal handlers.
    """
    _end_early_on_signals()
    become(options.uid, options.gid, options.umask)
    pidfile = PidFile(options.pidfile) if options.pidfile else None
    if pidfile is not None:
        pidfile.write()
    try:
        if options.pool == "solo":
            return _run_solo(options)
        return _run_forking(options)
    except TemplateGone as error:
        raise UmbelError(f"The worker ends: {error}") from error
    finally:
        if pidfile is not None:
            pidfile.remove()


def _end_early_on_signals() -> None:
    """Until the supervisor hears signals: nothing is claimed yet, so just end, and tidily."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0 if number == signal.SIGTERM else 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _run_forking(options: WorkerOptions) -> int:
    if not hasattr(os, "fork"):
        raise ImproperlyConfigured("this platform cannot fork processes: use -P solo")
    clock = SystemClock()
    link = _fork_template(options)
    plan = link.plan()
    if plan.pool == "solo":
        link.quit()
        return _run_solo(options)
    if scheme_of(plan.broker_url) == "memory":
        raise ImproperlyConfigured(
            "memory:// lives inside one process, and a worker of several processes shares nothing"
            " with its clients through it: use sqlite:///file, or -P solo in a test"
        )
    pool = ProcessPool(
        link,
        processes=plan.processes,
        slots=plan.slots,
        in_order=plan.pool == "prefork",
        lookahead=plan.lookahead,
        lookahead_cap=plan.lookahead_cap,
        start_timeout=plan.start_timeout,
        clock=clock,
    )
    try:
        return _supervise(plan, pool, clock, link.announce, quiet=options.quiet)
    finally:
        link.quit(TEMPLATE_PATIENCE)


def _run_solo(options: WorkerOptions) -> int:
    loaded = load(options)
    execution = Execution(loaded.app, node=loaded.plan.node, pid=os.getpid())
    tell_process_init(loaded.face)
    keeper = SchedulerKeeper(loaded.app) if options.beat else None
    pool = SoloPool(execution)
    try:
        return _supervise(
            loaded.plan,
            pool,
            SystemClock(),
            lambda word: announce(loaded.face, word),
            quiet=options.quiet,
            attend=pool.attend,
        )
    finally:
        if keeper is not None:
            keeper.stop()


def _fork_template(options: WorkerOptions) -> TemplateLink:
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            run_template(theirs, lambda: load(options), with_scheduler=options.beat)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    theirs.close()
    return TemplateLink(ours, pid)


def _supervise(
    plan: WorkerPlan,
    pool: Pool,
    clock: Clock,
    announce: Callable[[Announce], None],
    *,
    quiet: bool,
    attend: Callable[[Callable[[], float | None]], None] | None = None,
) -> int:
    logs.setup_logging(plan.log)
    if not quiet:
        print(plan.banner, flush=True)  # noqa: T201 - the banner is what the command shows
    for warning in plan.warnings:
        logger.warning("%s", warning)
    broker, backend = open_stores(plan)
    intake = Intake(broker, backend, plan, presence_of(plan), clock=clock, notify=pool.wake)
    station = open_station(plan, clock)

    def tell(word: Announce) -> None:
        if station is not None and word.name == "worker_shutting_down":
            station.remote.say_offline()
        announce(word)

    observer = None if station is None else station.observer
    supervisor = Supervisor(plan, pool, intake, clock, tell, observer)
    end_on_signals(supervisor.ask_to_stop)
    if station is not None:
        station.serve(supervisor, pool, intake, broker)
    if attend is not None:
        attend(supervisor.glance)
    health = open_health(plan, supervisor, pool, intake, broker, clock)
    try:
        with outbox_relayed(plan.outbox):
            return supervisor.run()
    finally:
        if health is not None:
            health.stop()
        if station is not None:
            station.remote.stop(LAST_EVENTS)
        broker.close()
        if backend is not None:
            backend.close()


def open_stores(plan: WorkerPlan) -> tuple[Broker, ResultBackend | None]:
    """Open what the plan names; connects to nothing yet. Raises ImproperlyConfigured."""
    broker = open_broker(plan.broker_url, plan.broker_options)
    if plan.backend_url is None:
        return broker, None
    return broker, open_backend(plan.backend_url, plan.backend_options)


def presence_of(plan: WorkerPlan) -> Presence:
    """Return what this worker tells about itself, with a new incarnation id."""
    return Presence(
        owner=uuid.uuid4().hex,
        name=plan.node,
        pid=os.getpid(),
        pool=plan.pool,
        concurrency=plan.concurrency,
        queues=tuple(queue.name for queue in plan.queues),
        version=__version__,
        started=time.time(),
    )
