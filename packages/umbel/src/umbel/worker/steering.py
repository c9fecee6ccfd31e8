"""Commands about the tasks here and about what the worker is: done on the supervisor's main thread.

Called by ``worker.commands``, between two looks of the supervisor around; each method is the
command of its name. What it says it did has happened, or has begun.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from umbel.errors import ImproperlyConfigured, NotSupported, UsageError, WireError
from umbel.ports import Pool
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_message import decode
from umbel.worker.answering import described, usage
from umbel.worker.ledger import Entry
from umbel.worker.plan import TaskTraits, WorkerPlan
from umbel.worker.supervisor import Supervisor

_HARMLESS = SERIALIZERS.content_types(["json", "yaml", "msgpack"])


class Steering:
    """Looks into one supervisor and changes it. Main thread only."""

    def __init__(self, plan: WorkerPlan, supervisor: Supervisor, pool: Pool) -> None:
        self._plan = plan
        self._supervisor = supervisor
        self._pool = pool
        self._started = time.monotonic()

    # --- looking ----------------------------------------------------------------------------------

    def active(self, safe: bool | None = None) -> Any:
        running = self._pool.running()
        return [
            self._info(entry, running[entry.id], safe=bool(safe))
            for entry in self._supervisor.ledger
            if entry.id in running
        ]

    def reserved(self, **_: Any) -> Any:
        running = self._pool.running()
        return [
            self._info(entry, None, safe=False)
            for entry in self._supervisor.ledger
            if entry.id not in running
        ]

    def query_task(self, ids: Any) -> Any:
        wanted = [ids] if isinstance(ids, str) else [str(one) for one in ids]
        running = self._pool.running()
        found: dict[str, Any] = {}
        for task_id in wanted:
            entry = self._supervisor.ledger.by_task_id(task_id)
            if entry is not None:
                state = "active" if entry.id in running else "reserved"
                info = self._info(entry, running.get(entry.id), safe=False)
                found[task_id] = [state, info]
        return found

    def stats(self) -> Any:
        plan, supervisor = self._plan, self._supervisor
        return {
            "total": dict(supervisor.by_name),
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - self._started),
            "pool": self._pool_stats(),
            "broker": plan.facts.broker,
            "prefetch_count": self._pool.capacity(),
            "rusage": usage(),
        }

    def active_queues(self) -> Any:
        return [described(queue) for queue in self._plan.queues]

    def _pool_stats(self) -> Mapping[str, Any]:
        plan = self._plan
        pids = sorted(self._pool.pids())
        return {
            "implementation": f"umbel.worker.pools:{plan.pool}",
            "max-concurrency": self._supervisor.slots,
            "processes": pids,
            "threads": plan.slots,
            "max-tasks-per-child": plan.max_tasks_per_child or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": [plan.soft_limit or 0, plan.hard_limit or 0],
            "writes": {"total": sum(self._supervisor.processed.values()), "strategy": "fair"},
        }

    def _info(self, entry: Entry, pid: int | None, *, safe: bool) -> Mapping[str, Any]:
        peek, delivery = entry.peek, entry.delivery
        args: Any = peek.argsrepr
        kwargs: Any = peek.kwargsrepr
        if not safe:
            args, kwargs = _arguments(delivery.raw, args, kwargs)
        began = None
        if pid is not None:
            began = time.time() - max(0.0, time.monotonic() - entry.began_at)
        return {
            "id": peek.id,
            "name": peek.shadow or peek.task,
            "args": args,
            "kwargs": kwargs,
            "type": peek.task,
            "hostname": self._plan.node,
            "time_start": began,
            "acknowledged": entry.acked,
            "delivery_info": {
                "exchange": "",
                "routing_key": delivery.queue,
                "priority": peek.priority,
                "redelivered": delivery.redelivered or peek.redelivered,
            },
            "worker_pid": pid,
        }

    # --- tasks ------------------------------------------------------------------------------------

    def known(self, ids: list[str]) -> list[str]:
        """Return those of these task ids that are here, begun or not."""
        return [one for one in ids if self._supervisor.ledger.by_task_id(one) is not None]

    def time_limit(
        self, task_name: str, hard: float | None = None, soft: float | None = None
    ) -> Any:
        traits = self._plan.tasks.get(task_name)
        if traits is None:
            return {"error": "unknown task"}
        # Race: intake reads this mapping while it admits: it finds the old value or the new one.
        tasks = cast("dict[str, TaskTraits]", self._plan.tasks)
        limits = {"hard_limit": _seconds(hard), "soft_limit": _seconds(soft)}
        tasks[task_name] = msgspec.structs.replace(traits, **limits)
        return {"ok": "time limits set successfully"}

    # --- the worker -------------------------------------------------------------------------------

    def pool_grow(self, n: int = 1) -> Any:
        return self._resize(int(n), "pool will grow")

    def pool_shrink(self, n: int = 1) -> Any:
        return self._resize(-int(n), "pool will shrink")

    def _resize(self, change: int, done: str) -> Any:
        if self._plan.pool != "prefork" and self._plan.processes * self._plan.slots == 1:
            raise NotSupported(f"the {self._plan.pool} pool cannot change its size")
        processes = self._pool.resize(change)
        self._supervisor.slots = processes * self._plan.slots
        return {"ok": done}

    def pool_restart(
        self, modules: Any = None, reload: bool = False, reloader: Any = None, **_: Any
    ) -> Any:
        if not self._plan.pool_restarts:
            raise UsageError("Pool restarts not enabled")
        if modules or reload or reloader:
            raise NotSupported(
                "modules cannot be loaded anew into a running worker: start it again, or use"
                " umbel dev"
            )
        self._pool.renew()
        return {"ok": "reload started"}

    def autoscale(self, max: Any = None, min: Any = None) -> Any:  # noqa: A002, ARG002 - the protocol's
        raise UsageError("Autoscale not enabled")

    def add_consumer(self, queue: str, **_: Any) -> Any:
        raise NotSupported(
            f"a running worker keeps its queues in this version of Umbel: start one with -Q {queue}"
        )

    def cancel_consumer(self, queue: str, **_: Any) -> Any:
        raise NotSupported(
            f"a running worker keeps its queues in this version of Umbel: it goes on with {queue}"
        )

    def shutdown(self, msg: str = "", **_: Any) -> None:  # noqa: ARG002 - the protocol's
        self._supervisor.ask_to_stop(False, "shutdown")


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _arguments(raw: bytes, argsrepr: Any, kwargsrepr: Any) -> tuple[Any, Any]:
    """Return the arguments themselves where they can be read without running anything."""
    try:
        message = decode(envelope.load(raw), accept=_HARMLESS, serializers=SERIALIZERS)
    except (WireError, ImproperlyConfigured):
        return argsrepr, kwargsrepr
    return list(message.args), dict(message.kwargs)
