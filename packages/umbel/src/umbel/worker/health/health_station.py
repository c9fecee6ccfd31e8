"""Health, put together: the server, and what it answers. Made by ``wiring``.

Nothing here is in the way of a task. A check costs the main thread one look at itself; it waits for
nobody's network, so that it answers while the broker hangs.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Sequence

from umbel.clock import Clock
from umbel.drivers.opening import open_driver
from umbel.errors import ImproperlyConfigured
from umbel.ports import Broker, Pool, ScheduleStore
from umbel.worker.health.address import parse_address
from umbel.worker.health.meter import Meter
from umbel.worker.health.metrics import Reading, render
from umbel.worker.health.server import Answer, HealthServer
from umbel.worker.health.store_watch import StoreWatch, read_store
from umbel.worker.health.vitals import Vitals
from umbel.worker.intake import Intake
from umbel.worker.plan import WorkerPlan
from umbel.worker.supervisor import Supervisor

logger = logging.getLogger("umbel.worker")

CHECK_PATIENCE = 0.04
"""Seconds a check waits for the main thread; then it judges what was seen last."""
SCRAPE_PATIENCE = 1.0
"""Seconds a scrape waits for the main thread, and again for the store."""
PATHS = ("/livez", "/readyz", "/metrics")
LIBRARY = "prometheus_client"
WITHOUT_LIBRARY = "/metrics needs prometheus_client: pip install 'umbel[metrics]'"


class HealthStation:
    """The health of one worker, over HTTP."""

    def __init__(
        self,
        plan: WorkerPlan,
        supervisor: Supervisor,
        pool: Pool,
        intake: Intake,
        broker: Broker,
        clock: Clock,
    ) -> None:
        """Takes the address. Raises ImproperlyConfigured when it cannot be had."""
        assert plan.http is not None
        self._plan = plan
        self._intake = intake
        self._clock = clock
        self._vitals = Vitals(supervisor, pool, intake, clock, plan=plan)
        self._meter = Meter(clock, plan.metrics_task_names)
        schedule = _schedule_store(plan)
        names = [queue.name for queue in plan.queues]
        self._store = StoreWatch(lambda: read_store(broker, schedule, names, clock), clock)
        self._with_metrics = importlib.util.find_spec(LIBRARY) is not None
        if self._with_metrics:
            supervisor.measure(self._meter.settled)
        self._server = HealthServer(parse_address(plan.http), self._answer)

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        logger.info("Health and metrics at %s", self._server.address)
        if not self._with_metrics:
            logger.warning("%s", WITHOUT_LIBRARY)

    def stop(self) -> None:
        """End."""
        self._server.stop()

    def _answer(self, path: str, accept: str) -> Answer:
        match path:
            case "/livez":
                return self._verdict(self._vitals.not_live())
            case "/readyz":
                return self._verdict(self._vitals.not_ready(CHECK_PATIENCE))
            case "/metrics":
                return self._metrics(accept)
        return _json(404, {"error": f"there is no {path}; there are {', '.join(PATHS)}"})

    def _verdict(self, reasons: Sequence[str]) -> Answer:
        word = "failing" if reasons else "ok"
        document = {"status": word, "node": self._plan.node, "reasons": list(reasons)}
        return _json(503 if reasons else 200, document)

    def _metrics(self, accept: str) -> Answer:
        if not self._with_metrics:
            return _json(501, {"error": WITHOUT_LIBRARY})
        reading = Reading(
            self._plan,
            self._vitals.sight(SCRAPE_PATIENCE),
            self._vitals.connected,
            self._intake,
            self._meter,
            self._store.reading(SCRAPE_PATIENCE),
            self._clock.monotonic(),
        )
        content_type, body = render(reading, accept)
        return Answer(200, content_type, body)


def open_health(
    plan: WorkerPlan,
    supervisor: Supervisor,
    pool: Pool,
    intake: Intake,
    broker: Broker,
    clock: Clock,
) -> HealthStation | None:
    """Return the station, already answering; None where nobody asked for one."""
    if plan.http is None:
        return None
    station = HealthStation(plan, supervisor, pool, intake, broker, clock)
    station.start()
    return station


def _schedule_store(plan: WorkerPlan) -> ScheduleStore | None:
    """Return the schedule of the app, where it has entries in a store that keeps them."""
    if plan.schedule is None:
        return None
    try:
        url, options, timetable = plan.schedule
        return open_driver(url, options).schedule_store(timetable)
    except ImproperlyConfigured as error:
        logger.warning("No metrics of the schedule: %s", error)
        return None


def _json(status: int, document: object) -> Answer:
    return Answer(status, "application/json", json.dumps(document).encode() + b"\n")
