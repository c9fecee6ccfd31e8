"""Commands that need no look at the tasks here: answered on the thread that owns the bus.

So a worker says that it lives, what it is and what rests in its queues even while its main thread
runs a task (``solo``). Called by ``worker.commands``; each method is the command of its name.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from umbel.clock import LogicalClock
from umbel.errors import NotSupported, WireError
from umbel.model.queues import Queue
from umbel.model.revocation import Revocation
from umbel.model.shelves import EVERYTHING, Shelf, Shelved
from umbel.ports import Broker
from umbel.wire import envelope
from umbel.worker.facts import WorkerFacts
from umbel.worker.observing import Observer
from umbel.worker.plan import WorkerPlan

_USUAL_ITEMS = ("exchange", "routing_key", "rate_limit")
MOST_SCHEDULED = 1000
"""Resting tasks of one queue told at most: there may be millions."""


class Answering:
    """Answers from the plan and the broker. The bus's thread only."""

    def __init__(
        self,
        plan: WorkerPlan,
        broker: Broker,
        observer: Observer,
        clock: LogicalClock,
        *,
        revoked: Callable[[], Sequence[str]],
        beat: Callable[[], None],
    ) -> None:
        """``revoked``: the ids that must not run. ``beat``: gives monitors a sign of life."""
        self._plan = plan
        self._facts: WorkerFacts = plan.facts
        self._broker = broker
        self._observer = observer
        self._clock = clock
        self._revoked = revoked
        self._beat = beat
        self._all_events = plan.task_events
        """Started with -E: then everything is told, and commands change nothing, as in Celery."""

    # --- looking ----------------------------------------------------------------------------------

    def ping(self) -> Any:
        return {"ok": "pong"}

    def clock(self) -> Any:
        return {"clock": self._clock.value}

    def hello(self, from_node: str, revoked: Any = None) -> Any:  # noqa: ARG002 - ours rest in the store
        if from_node == self._plan.node:
            return None
        return {"revoked": list(self._revoked()), "clock": self._clock.forward()}

    def conf(self, with_defaults: bool = False) -> Any:
        return self._facts.all_settings if with_defaults else self._facts.settings

    def report(self) -> Any:
        return {"ok": self._facts.report}

    def registered(self, taskinfoitems: Iterable[str] | None = None, builtins: bool = False) -> Any:
        items = tuple(taskinfoitems or _USUAL_ITEMS)
        return [
            _with_items(name, info, items)
            for name, info in self._facts.tasks.items()
            if builtins or not name.startswith("celery.")
        ]

    def revoked(self) -> Any:
        return list(self._revoked())

    def scheduled(self) -> Any:
        """What rests in the store, whichever worker will run it."""
        found: list[Any] = []
        shelves = self._broker.shelves()
        for queue in self._plan.queues:
            try:
                page = shelves.page(
                    Shelf.DELAYED, queue.name, EVERYTHING, after=None, limit=MOST_SCHEDULED
                )
            except NotSupported:
                continue
            found += [told for each in page.entries if (told := self._resting(each))]
        return found

    def _resting(self, shelved: Shelved) -> Any:
        try:
            peek = envelope.peek(shelved.raw)
        except WireError:
            return None
        request = {
            "id": peek.id,
            "name": peek.shadow or peek.task,
            "type": peek.task,
            "args": peek.argsrepr,
            "kwargs": peek.kwargsrepr,
            "hostname": self._plan.node,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": {
                "exchange": "",
                "routing_key": shelved.queue,
                "priority": peek.priority,
                "redelivered": peek.redelivered,
            },
            "worker_pid": None,
        }
        eta = shelved.at.astimezone(UTC).isoformat()
        return {"eta": eta, "priority": peek.priority, "request": request}

    def memsample(self) -> Any:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kilobytes = used / 1024 if sys.platform == "darwin" else used
        return f"{kilobytes / 1024:.3f}MB"

    def memdump(self, samples: int = 10) -> Any:  # noqa: ARG002 - only one is kept
        return f"{datetime.now(UTC).isoformat(timespec='seconds')} {self.memsample()}"

    def objgraph(self, **_: Any) -> Any:
        raise NotSupported(
            "the objects of the supervisor are Umbel's own; look at those of your tasks with a"
            " profiler in an executor"
        )

    # --- telling ----------------------------------------------------------------------------------

    def enable_events(self) -> Any:
        if self._all_events or self._observer.watching:
            return {"ok": "task events already enabled"}
        self._observer.watching = True
        return {"ok": "task events enabled"}

    def disable_events(self) -> Any:
        if self._all_events or not self._observer.watching:
            return {"ok": "task events already disabled"}
        self._observer.watching = False
        return {"ok": "task events disabled"}

    def heartbeat(self) -> None:
        self._beat()

    def election(self, **_: Any) -> None:
        """Nobody is elected: workers of Umbel need no leader."""

    def rate_limit(self, task_name: str, rate_limit: Any = None) -> Any:
        if task_name not in self._plan.tasks:
            return {"error": "unknown task"}
        raise NotSupported(
            f"rate limits are not kept by this version of Umbel: {task_name} runs as before"
            f" (asked for {rate_limit!r})"
        )

    def revoke_by_stamped_headers(self, headers: Any, **_: Any) -> Any:
        raise NotSupported(
            f"tasks are revoked by their ids in this version of Umbel: nothing was revoked for the"
            f" stamps {headers!r}"
        )

    def store_revocations(self, task_id: Any, *, terminate: bool, signal: str) -> list[str]:
        """Have the broker keep for every worker that these must not run; return the ids."""
        ids = [task_id] if isinstance(task_id, str) else [str(one) for one in task_id or ()]
        self._broker.revoke(
            [Revocation(task_id=one, terminate=terminate, signal=signal) for one in ids],
            keep=self._plan.revoke_keep,
        )
        return ids


def described(queue: Queue) -> Mapping[str, Any]:
    """Return a queue as monitors expect one."""
    name = queue.exchange or queue.name
    exchange = {
        "name": name,
        "type": queue.exchange_type,
        "arguments": None,
        "durable": True,
        "passive": False,
        "auto_delete": False,
        "delivery_mode": None,
        "no_declare": False,
    }
    return {
        "name": queue.name,
        "exchange": exchange,
        "routing_key": queue.name if queue.routing_key is None else queue.routing_key,
        "queue_arguments": dict(queue.arguments) or None,
        "binding_arguments": None,
        "consumer_arguments": None,
        "durable": True,
        "exclusive": False,
        "auto_delete": False,
        "no_ack": False,
        "alias": None,
        "bindings": [],
        "no_declare": None,
        "expires": None,
        "message_ttl": None,
        "max_length": None,
        "max_length_bytes": None,
        "max_priority": queue.max_priority,
    }


def _with_items(name: str, info: Mapping[str, str], items: Sequence[str]) -> str:
    parts = [f"{item}={info[item]}" for item in items if item in info]
    return f"{name} [{' '.join(parts)}]" if parts else name


def usage() -> Mapping[str, Any]:
    """Return what the supervisor has used of the machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    names = [name[3:] for name in dir(used) if name.startswith("ru_")]
    return {name: getattr(used, f"ru_{name}") for name in names}
