"""``/metrics``: everything a worker knows of itself, in Prometheus' words.

``prometheus_client`` writes the text; nothing is kept in its registry, so nothing is added to the
way of a task. ``METRICS`` is the list that the reference page is tested against.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from umbel.version import __version__
from umbel.worker.health.meter import BOUNDS, Histogram, Meter
from umbel.worker.health.store_watch import StoreReading, schedule_lag
from umbel.worker.health.vitals import Sight
from umbel.worker.intake import Intake
from umbel.worker.plan import WorkerPlan


class Metric(msgspec.Struct, frozen=True):
    """One metric as it is documented. Counters end in ``_total`` when they are read."""

    kind: str
    labels: tuple[str, ...]
    help: str


METRICS: dict[str, Metric] = {
    "umbel_worker_info": Metric(
        "gauge", ("node", "version", "pool", "profile"), "1, with who this worker is."
    ),
    "umbel_worker_slots": Metric("gauge", (), "Tasks this worker can run at once."),
    "umbel_broker_connected": Metric("gauge", (), "1 while there is a connection to the broker."),
    "umbel_executors_ready": Metric("gauge", (), "Executors that take work."),
    "umbel_executors_wanted": Metric("gauge", (), "Executors there should be."),
    "umbel_executor_restarts_total": Metric("counter", (), "Executors replaced because they died."),
    "umbel_memory_bytes": Metric(
        "gauge", ("process",), "Resident memory of the supervisor, and of the executors in all."
    ),
    "umbel_claims": Metric("gauge", ("step",), "Messages that this worker holds, by their step."),
    "umbel_messages_claimed_total": Metric("counter", (), "Messages claimed."),
    "umbel_messages_redelivered_total": Metric(
        "counter", (), "Messages claimed whose earlier claim ended without an outcome: rescued."
    ),
    "umbel_claims_lost_total": Metric(
        "counter", (), "Claims that turned out to be no longer this worker's."
    ),
    "umbel_tasks_total": Metric("counter", ("state",), "Runs that ended, by how."),
    "umbel_task_run_seconds": Metric("histogram", ("task",), "How long runs took."),
    "umbel_task_wait_seconds": Metric(
        "histogram", (), "How long tasks waited in this worker, from the claim to the beginning."
    ),
    "umbel_queue_ready": Metric("gauge", ("queue",), "Messages that wait to be claimed."),
    "umbel_queue_claimed": Metric("gauge", ("queue",), "Messages that some worker holds."),
    "umbel_queue_delayed": Metric("gauge", ("queue",), "Messages that rest until a later time."),
    "umbel_queue_quarantined": Metric("gauge", ("queue",), "Messages that are set aside."),
    "umbel_queue_quarantine_age_seconds": Metric(
        "gauge", ("queue",), "How long ago the oldest of those was set aside; 0 for none."
    ),
    "umbel_schedule_entries": Metric("gauge", (), "Entries of the schedule."),
    "umbel_schedule_lag_seconds": Metric(
        "gauge", (), "By how much the most overdue entry of the schedule is overdue."
    ),
    "umbel_store_reading_age_seconds": Metric(
        "gauge", (), "How old the numbers of queues and schedule are."
    ),
}
"""Every metric. Labels that name a queue or a task have as many values as there are of these."""


class Reading(msgspec.Struct, frozen=True):
    """What one scrape shows. ``now``: monotonic seconds, of ``store`` too."""

    plan: WorkerPlan
    sight: Sight | None
    connected: bool
    intake: Intake
    meter: Meter
    store: StoreReading | None
    now: float


def render(reading: Reading, accept: str) -> tuple[str, bytes]:
    """Return the content type and the text. Raises ImportError without ``prometheus_client``."""
    # Imported here: a worker without worker_http has no use for it.
    from prometheus_client import CollectorRegistry  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415
    from prometheus_client.registry import Collector  # noqa: PLC0415

    class Once(Collector):
        def collect(self) -> Iterator[Any]:
            return families(reading)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


Sample = tuple[str, tuple[str, ...], "float | Histogram"]
"""Name, values of the labels, and the value."""


def families(reading: Reading) -> Iterator[Any]:
    """Yield what ``prometheus_client`` writes down."""
    from prometheus_client import core  # noqa: PLC0415 - see render

    makers = {"gauge": core.GaugeMetricFamily, "counter": core.CounterMetricFamily}
    made: dict[str, Any] = {}
    for name, labels, value in samples(reading):
        metric = METRICS[name]
        if name not in made:
            maker = makers.get(metric.kind, core.HistogramMetricFamily)
            made[name] = maker(name, metric.help, labels=list(metric.labels))
        if isinstance(value, Histogram):
            made[name].add_metric(list(labels), _buckets(value), value.total)
        else:
            made[name].add_metric(list(labels), value)
    yield from made.values()


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*map(str, BOUNDS), "+Inf"]
    return list(zip(names, accumulate(histogram.counts), strict=True))


def samples(reading: Reading) -> Iterator[Sample]:
    """Yield every value there is. What is not known is left out, never 0."""
    plan, intake = reading.plan, reading.intake
    yield "umbel_worker_info", (plan.node, __version__, plan.pool, plan.profile), 1
    yield "umbel_broker_connected", (), int(reading.connected)
    yield "umbel_messages_claimed_total", (), intake.claimed
    yield "umbel_messages_redelivered_total", (), intake.rescued
    yield "umbel_claims_lost_total", (), intake.claims_lost
    yield "umbel_task_wait_seconds", (), reading.meter.waits
    for name, runs in reading.meter.runs.items():
        yield "umbel_task_run_seconds", (name,), runs
    if reading.sight is not None:
        yield from _of_sight(reading.sight)
    if reading.store is not None:
        yield from _of_store(reading.store, reading.now)


def _of_sight(sight: Sight) -> Iterator[Sample]:
    yield "umbel_worker_slots", (), sight.slots
    yield "umbel_executors_ready", (), sight.pool.ready
    yield "umbel_executors_wanted", (), sight.pool.wanted
    yield "umbel_executor_restarts_total", (), sight.pool.restarts
    for step in ("claimed", "assigned", "running"):
        yield "umbel_claims", (step,), sight.held.get(step, 0)
    for state, count in sight.processed.items():
        yield "umbel_tasks_total", (state,), count
    mine = memory_of([os.getpid()])
    if mine is not None:
        yield "umbel_memory_bytes", ("supervisor",), mine
        theirs = [pid for pid in sight.pids if pid != os.getpid()]
        yield "umbel_memory_bytes", ("executors",), memory_of(theirs) or 0


def _of_store(store: StoreReading, now: float) -> Iterator[Sample]:
    yield "umbel_store_reading_age_seconds", (), max(0.0, now - store.at)
    for queue in store.queues:
        where = (queue.name,)
        yield "umbel_queue_ready", where, queue.ready
        if queue.claimed is not None:
            yield "umbel_queue_claimed", where, queue.claimed
        if queue.delayed is not None:
            yield "umbel_queue_delayed", where, queue.delayed
        yield "umbel_queue_quarantined", where, queue.quarantined
        since = queue.quarantined_since
        age = 0.0 if since is None else max(0.0, (store.now - since).total_seconds())
        if since is not None or not queue.quarantined:
            yield "umbel_queue_quarantine_age_seconds", where, age
    if store.entries is not None:
        yield "umbel_schedule_entries", (), len(store.entries)
        yield "umbel_schedule_lag_seconds", (), schedule_lag(store.entries, store.now)


def memory_of(pids: Sequence[int]) -> int | None:
    """Return the resident bytes of these processes in all; None where the system tells none."""
    page, found = os.sysconf("SC_PAGE_SIZE"), None
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                found = (found or 0) + int(file.read().split()[1]) * page
        except (OSError, IndexError):
            continue  # it has ended, or this is not Linux
    return found
