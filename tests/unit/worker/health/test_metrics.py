"""What is measured, how it is written, and that the page and the dashboard know every name."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.worker.health.test_rules import entry, sight
from tests.unit.worker.values import NOW, delivery, peek, plan
from umbel.errors import BrokerUnavailable
from umbel.model.assignment import Report
from umbel.model.delivery import Ack
from umbel.model.queues import QueueStats
from umbel.testing.manual_clock import ManualClock
from umbel.worker.health.meter import BOUNDS, OTHERS, Meter
from umbel.worker.health.metrics import METRICS, Reading, memory_of, render
from umbel.worker.health.store_watch import FRESH, OLDEST, StoreReading, StoreWatch

DOCS = Path(__file__).resolve().parents[4] / "docs"
PATIENCE = 10.0


def settle(meter, clock, name, seconds, waited=0.0):
    since = clock.monotonic() - seconds - waited
    claim = SimpleNamespace(peek=peek(task=name), waits_since=since, delivery=delivery())
    meter.settled(claim, Report(1, "SUCCESS", Ack(), (), (), seconds))


def store(at=0.0, **queue):
    stats = QueueStats(**({"name": "mail", "ready": 7, "claimed": 2, "delayed": None} | queue))
    late = entry(next_due=NOW - timedelta(seconds=4))
    return StoreReading(at=at, now=NOW, queues=[stats], entries=[late])


def reading(meter, *, seen=None, stored=None):
    intake = SimpleNamespace(claimed=9, rescued=2, claims_lost=1)
    return Reading(plan(), seen, True, intake, meter, stored, 3.0)


def written(one, accept=""):
    _, body = render(one, accept)
    families = text_string_to_metric_families(body.decode())
    return {
        (
            sample.name,
            *(value for _, value in sorted(sample.labels.items(), reverse=True)),
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_runs_and_waits_go_to_their_buckets():
    clock = ManualClock()
    meter = Meter(clock, 10)
    settle(meter, clock, "tasks.add", 0.005, waited=2.0)
    settle(meter, clock, "tasks.add", 0.3)
    settle(meter, clock, "tasks.add", 9999.0)
    told = written(reading(meter))
    assert told["umbel_task_run_seconds_bucket", "tasks.add", "0.005"] == 1
    assert told["umbel_task_run_seconds_bucket", "tasks.add", "0.25"] == 1
    assert told["umbel_task_run_seconds_bucket", "tasks.add", "0.5"] == 2
    assert told["umbel_task_run_seconds_bucket", "tasks.add", "+Inf"] == 3
    assert told["umbel_task_run_seconds_count", "tasks.add"] == 3
    assert told["umbel_task_run_seconds_sum", "tasks.add"] == pytest.approx(9999.305)
    assert told["umbel_task_wait_seconds_bucket", "1.0"] == 2
    assert told["umbel_task_wait_seconds_sum",] == pytest.approx(2.0)


def test_names_beyond_the_limit_are_counted_together():
    clock = ManualClock()
    meter = Meter(clock, 2)
    for name in ("a", "b", "c", "d", "a"):
        settle(meter, clock, name, 1.0)
    assert {name: sum(each.counts) for name, each in meter.runs.items()} == {
        "a": 2,
        "b": 1,
        OTHERS: 2,
    }


def test_a_run_that_no_executor_told_of_has_no_length():
    meter = Meter(ManualClock(), 2)
    meter.settled(SimpleNamespace(peek=peek(), waits_since=0.0), RuntimeError("died"))
    assert meter.runs == {}
    assert sum(meter.waits.counts) == 0
    assert len(meter.waits.counts) == len(BOUNDS) + 1


def test_everything_that_is_known_is_told():
    meter = Meter(ManualClock(), 2)
    seen = sight(ready=1, restarts=3)
    since = NOW - timedelta(minutes=1)
    told = written(
        reading(meter, seen=seen, stored=store(at=1.0, quarantined=5, quarantined_since=since))
    )
    assert told["umbel_executors_ready",] == 1
    assert told["umbel_executor_restarts_total",] == 3
    assert told["umbel_messages_claimed_total",] == 9
    assert told["umbel_messages_redelivered_total",] == 2
    assert told["umbel_claims_lost_total",] == 1
    assert told["umbel_queue_ready", "mail"] == 7
    assert told["umbel_queue_claimed", "mail"] == 2
    assert told["umbel_queue_quarantined", "mail"] == 5
    assert told["umbel_queue_quarantine_age_seconds", "mail"] == 60.0
    assert told["umbel_schedule_lag_seconds",] == 4.0
    assert told["umbel_store_reading_age_seconds",] == 2.0


def test_what_is_not_known_is_left_out():
    told = written(reading(Meter(ManualClock(), 2), stored=store()))
    names = {name for name, *_ in told}
    assert "umbel_queue_delayed" not in names
    assert "umbel_executors_ready" not in names
    assert told["umbel_queue_quarantine_age_seconds", "mail"] == 0.0


def test_openmetrics_is_spoken_where_it_is_asked_for():
    content_type, body = render(
        reading(Meter(ManualClock(), 2)), "application/openmetrics-text; version=1.0.0"
    )
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_memory_is_that_of_processes_that_live():
    assert memory_of([]) is None
    assert memory_of([2**30]) is None


# --- the store ------------------------------------------------------------------------------------


def test_the_store_is_read_once_while_the_reading_is_fresh():
    clock, reads = ManualClock(), []

    def read():
        reads.append(1)
        return store(at=clock.monotonic())

    watch = StoreWatch(read, clock)
    assert watch.reading(PATIENCE) is watch.reading(PATIENCE)
    assert len(reads) == 1
    clock.advance(FRESH)
    watch.reading(PATIENCE)
    assert len(reads) == 2


def test_a_store_that_fails_leaves_the_last_reading_until_it_is_too_old():
    clock = ManualClock()
    fail = []

    def read():
        if fail:
            raise BrokerUnavailable("away")
        return store(at=clock.monotonic())

    watch = StoreWatch(read, clock)
    first = watch.reading(PATIENCE)
    fail.append(1)
    clock.advance(FRESH)
    assert watch.reading(PATIENCE) is first
    clock.advance(OLDEST)
    assert watch.reading(PATIENCE) is None


def test_a_store_that_hangs_is_asked_by_one_thread_and_waited_for_by_none():
    clock, asked, go = ManualClock(), [], threading.Event()

    def read():
        asked.append(1)
        go.wait(PATIENCE)
        return store(at=clock.monotonic())

    watch = StoreWatch(read, clock)
    assert [watch.reading(0.0) for _ in range(5)] == [None] * 5
    assert len(asked) == 1
    go.set()
    assert watch.reading(PATIENCE) is not None


# --- the page and the dashboard -------------------------------------------------------------------


def test_the_reference_page_lists_every_metric_as_it_is():
    text = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(umbel_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert {name: tuple(rest) for name, *rest in rows} == {
        name: (each.kind, ", ".join(f"`{one}`" for one in each.labels), each.help)
        for name, each in METRICS.items()
    }


def test_the_dashboard_asks_for_metrics_and_labels_that_exist():
    dashboard = json.loads((DOCS / "monitoring" / "grafana.json").read_text(encoding="utf-8"))
    wanted = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    assert wanted
    series = set(METRICS)
    for name, each in METRICS.items():
        if each.kind == "histogram":
            series |= {f"{name}_{end}" for end in ("bucket", "sum", "count")}
    labels = {one for each in METRICS.values() for one in each.labels} | {"le", "instance", "job"}
    for expression in wanted:
        names = set(re.findall(r"\bumbel_\w+", expression))
        assert names
        assert names <= series, expression
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert {one.strip() for one in group.split(",")} <= labels, expression
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}
