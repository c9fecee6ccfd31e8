"""The banner: what a Celery user looks for is there."""

from __future__ import annotations

from datetime import UTC, datetime

from umbel.app.banner import delivery_promise, worker_banner
from umbel.model.queues import Queue

LATE = delivery_promise(early_ack=False, max_deliveries=3)
EARLY = delivery_promise(early_ack=True)


def banner(**more):
    values = {
        "node": "celery@host",
        "app": "test",
        "transport": "redis://:**@127.0.0.1:6379/2",
        "results": "redis://127.0.0.1:6379/1",
        "concurrency": 2,
        "pool": "prefork",
        "queues": [Queue("celery"), Queue("mail", exchange="ex", routing_key="k")],
        "tasks": {"b.two": LATE, "a.one": LATE, "c.early": EARLY},
        "now": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return worker_banner(**(values | more))


def test_what_a_celery_user_looks_for_is_there():
    text = banner()
    for part in (
        "celery@host",
        "[config]",
        ".> app:         test",
        ".> transport:   redis://:**@127.0.0.1:6379/2",
        ".> results:     redis://127.0.0.1:6379/1",
        ".> concurrency: 2 (prefork)",
        "task events: OFF",
        "[queues]",
        "exchange=celery(direct) key=celery",
        "exchange=ex(direct) key=k",
        "[tasks]",
        "2026-01-02 03:04:05",
    ):
        assert part in text


def test_the_common_promise_is_told_once_and_others_at_their_task():
    lines = banner().splitlines()
    assert f"  .> delivery:    {LATE}" in lines
    assert [line for line in lines if line.startswith("  . ")] == [
        "  . a.one",
        "  . b.two",
        f"  . c.early  {EARLY}",
    ]


def test_no_tasks_and_no_results_are_told():
    text = banner(tasks={}, results=None, task_events=True)
    assert "disabled (no result backend is set)" in text
    assert "(none: does the app's module import" in text
    assert "task events: ON" in text


def test_pools_of_several_processes():
    assert "200 (asyncio, 2 processes)" in banner(pool="asyncio", concurrency=200, processes=2)


def test_promises():
    assert EARLY == "at most once (early ack)"
    assert LATE == "at least once (late ack, up to 3 deliveries)"
    assert delivery_promise(early_ack=False) == "at least once (late ack)"
    assert "failed if its process dies" in delivery_promise(early_ack=False, requeue_lost=False)
