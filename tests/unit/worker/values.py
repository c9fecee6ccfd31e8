"""Values the worker's unit tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from umbel.app.logs import LogPlan
from umbel.model.delivery import Delivery, Receipt
from umbel.model.queues import Queue
from umbel.wire.envelope import Peek
from umbel.worker.plan import TaskTraits, WorkerPlan

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def traits(**changes: Any) -> TaskTraits:
    fields: dict[str, Any] = {
        "early_ack": False,
        "ack_failure": True,
        "ack_timeout": True,
        "requeue_lost": True,
        "ignore_result": False,
        "store_errors": False,
        "hard_limit": None,
        "soft_limit": None,
    }
    return TaskTraits(**(fields | changes))


def peek(**changes: Any) -> Peek:
    fields: dict[str, Any] = {
        "task": "tasks.add",
        "id": "id-1",
        "eta": None,
        "expires": None,
        "retries": 0,
        "soft_limit": None,
        "hard_limit": None,
        "ignore_result": None,
        "priority": 0,
        "shadow": None,
        "root_id": None,
        "parent_id": None,
        "argsrepr": None,
        "kwargsrepr": None,
        "delivery_tag": "tag",
        "redelivered": False,
    }
    return Peek(**(fields | changes))


def delivery(receipt: str = "r-1", **changes: Any) -> Delivery:
    fields: dict[str, Any] = {"queue": "celery", "raw": b"{}", "count": 1}
    return Delivery(Receipt(receipt), **(fields | changes))


def plan(**changes: Any) -> WorkerPlan:
    fields: dict[str, Any] = {
        "app_name": "test",
        "profile": "umbel",
        "node": "celery@here",
        "broker_url": "memory://",
        "broker_options": {},
        "backend_url": "memory://",
        "backend_options": {},
        "queues": (Queue("celery"),),
        "tasks": {"tasks.add": traits()},
        "pool": "solo",
        "concurrency": 1,
        "processes": 1,
        "slots": 1,
        "lookahead": 0.05,
        "lookahead_cap": 64,
        "lease": 15.0,
        "renewal": 5.0,
        "max_deliveries": 3,
        "unknown_parks": True,
        "hard_limit": None,
        "soft_limit": None,
        "max_tasks_per_child": None,
        "max_memory_per_child": None,
        "start_timeout": 4.0,
        "shutdown_timeout": 25.0,
        "soft_shutdown_timeout": 0.0,
        "result_serializer": "json",
        "result_expires": 86400.0,
        "failure_expires": None,
        "timezone": "UTC",
        "task_events": False,
        "banner": "",
        "log": LogPlan(
            level=30,
            logfile=None,
            node="celery@here",
            format="%(message)s",
            datefmt=None,
            task_format="%(message)s",
            task_datefmt=None,
            color=False,
            hijack=False,
            redirect=False,
            redirect_level="WARNING",
        ),
    }
    return WorkerPlan(**(fields | changes))
