"""What a monitor knows of a fleet: workers and tasks, made of the events it heard.

``State`` is what Celery's monitors call by that name, with the same attributes. It is bounded, and
any thread may use it. Nothing here talks to anybody.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from umbel.monitoring.emitter import Event

HEARTBEAT_WINDOW = 2.0
"""A worker counts as alive for so many of its own intervals after its last sign."""
HEARTBEATS_KEPT = 4
_RANK = {
    "SUCCESS": 0,
    "FAILURE": 1,
    "REVOKED": 3,
    "STARTED": 4,
    "RECEIVED": 5,
    "REJECTED": 6,
    "RETRY": 7,
    "PENDING": 8,
}
_OTHER_RANK = 2
_STATES = {
    "sent": "PENDING",
    "received": "RECEIVED",
    "started": "STARTED",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "retried": "RETRY",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
}
"""Second word of an event's type -> the state it means; another word is a state of its own."""
_READY = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
_FACTS = frozenset({"name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires"})
"""What ``task-received`` tells; taken even from one that arrives late."""


class Worker:
    """One node. Attributes it has not told are None."""

    heartbeat_window = HEARTBEAT_WINDOW

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname
        self.pid: int | None = None
        self.freq: Any = 60.0
        self.heartbeats: list[float] = []
        self.clock = 0
        self.active: int | None = None
        self.processed: int | None = None
        self.loadavg: Any = None
        self.sw_ident: str | None = None
        self.sw_ver: str | None = None
        self.sw_sys: str | None = None

    def update(self, event: Event) -> None:
        """Take in one ``worker-…`` event."""
        for name, value in event.items():
            if name in _WORKER_FIELDS:
                setattr(self, name, value)
        received = event.get("local_received") or time.time()
        if event.get("type") == "worker-offline":
            self.heartbeats.clear()
            return
        if not isinstance(self.freq, int | float):
            self.freq = 60.0
        bisect.insort(self.heartbeats, float(received))
        del self.heartbeats[:-HEARTBEATS_KEPT]

    @property
    def heartbeat_expires(self) -> float:
        """Unix time at which it counts as gone, without another sign."""
        return self.heartbeats[-1] + float(self.freq) * self.heartbeat_window

    @property
    def alive(self) -> bool:
        """Whether its last sign is young enough."""
        return bool(self.heartbeats) and time.time() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """ONLINE or OFFLINE."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        """``hostname.pid``."""
        return f"{self.hostname}.{self.pid}"

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string})>"


_WORKER_FIELDS = frozenset(
    {"pid", "freq", "clock", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"}
)


class Task:
    """One task. Attributes nobody has told are None."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.state = "PENDING"
        self.worker: Worker | None = None
        self.name: str | None = None
        self.args: Any = None
        self.kwargs: Any = None
        self.eta: Any = None
        self.expires: Any = None
        self.retries: Any = None
        self.root_id: Any = None
        self.parent_id: Any = None
        self.result: Any = None
        self.exception: Any = None
        self.traceback: Any = None
        self.runtime: Any = None
        self.exchange: Any = None
        self.routing_key: Any = None
        self.queue: Any = None
        self.client: str | None = None
        self.timestamp: float | None = None
        self.clock = 0
        self.sent: float | None = None
        self.received: float | None = None
        self.started: float | None = None
        self.succeeded: float | None = None
        self.failed: float | None = None
        self.retried: float | None = None
        self.revoked: float | None = None
        self.rejected: float | None = None
        self.extra: dict[str, Any] = {}
        """Fields of events of the user's own."""

    def update(self, subject: str, event: Event, worker: Worker | None) -> None:
        """Take in one event; what is older than what is known changes no state."""
        state = _STATES.get(subject, subject.upper())
        moment = event.get("timestamp")
        if worker is not None:
            self.worker = worker
        if subject in _STATES:
            setattr(self, subject, moment)
        late = (
            state != "RETRY"
            and self.state != "RETRY"
            and _RANK.get(state, _OTHER_RANK) > _RANK.get(self.state, _OTHER_RANK)
        )
        for name, value in event.items():
            if late and name not in _FACTS:
                continue
            if name in _TASK_FIELDS:
                setattr(self, name, value)
            elif name not in self.__dict__ and name not in _OF_THE_EVENT:
                self.extra[name] = value
        if not late:
            self.state = state

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in _READY

    @property
    def id(self) -> str:
        """The same as ``uuid``."""
        return self.uuid

    def info(
        self, fields: Iterable[str] | None = None, extra: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return what is known, by name; those of ``fields`` only, where given."""
        names = [*(fields or _INFO), *extra]
        found = {name: getattr(self, name, self.extra.get(name)) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return every attribute; ``worker`` as its name."""
        known = {name: value for name, value in self.__dict__.items() if name != "extra"}
        known["worker"] = None if self.worker is None else self.worker.hostname
        return {**self.extra, **known}

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"


_INFO = (
    "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange",
    "routing_key", "root_id", "parent_id",
)  # fmt: skip

_TASK_FIELDS = frozenset(
    {
        "args", "clock", "eta", "exception", "exchange", "expires", "kwargs", "name", "parent_id",
        "queue", "result", "retries", "root_id", "routing_key", "runtime", "timestamp", "traceback",
    }
)  # fmt: skip
_OF_THE_EVENT = frozenset({"hostname", "pid", "type", "local_received", "utcoffset"})


class State:
    """The fleet as events tell it. Any thread.

    ``callback`` is called with each state and event; ``on_node_join`` and ``on_node_leave`` with a
    worker.
    """

    def __init__(
        self,
        callback: Callable[[State, Event], Any] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[Worker], Any] | None = None,
        on_node_leave: Callable[[Worker], Any] | None = None,
    ) -> None:
        self.event_callback = callback
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.workers: OrderedDict[str, Worker] = OrderedDict()
        self.tasks: OrderedDict[str, Task] = OrderedDict()
        self.event_count = 0
        self.task_count = 0
        self._lock = threading.RLock()

    # --- taking events in -------------------------------------------------------------------------

    def event(self, event: Event) -> tuple[Any, str]:
        """Take in one event; return what it is about (or None) and the event's second word."""
        with self._lock:
            self.event_count += 1
            group, _, subject = str(event["type"]).partition("-")
            about: Any = None
            if group == "worker":
                about = self._worker_event(subject, event)
            elif group == "task" and "uuid" in event:
                about = self._task_event(subject, event)
        if self.event_callback is not None:
            self.event_callback(self, event)
        return about, subject

    def _worker_event(self, subject: str, event: Event) -> Worker:
        worker, created = self.get_or_create_worker(event["hostname"])
        was_alive = worker.alive
        worker.update(event)
        if subject == "offline":
            self.workers.pop(worker.hostname, None)
            if self.on_node_leave is not None:
                self.on_node_leave(worker)
        elif (created or not was_alive) and self.on_node_join is not None:
            self.on_node_join(worker)
        return worker

    def _task_event(self, subject: str, event: Event) -> Task:
        task, _ = self.get_or_create_task(event["uuid"])
        hostname = event.get("hostname")
        worker = None
        if subject == "sent":
            task.client = hostname
        elif hostname is not None:
            worker, _ = self.get_or_create_worker(hostname)
        task.update(subject, event, worker)
        if subject == "received":
            self.task_count += 1
        return task

    def get_or_create_worker(self, hostname: str, **fields: Any) -> tuple[Worker, bool]:
        """Return the worker of this name and whether it is new."""
        with self._lock:
            worker = self.workers.get(hostname)
            created = worker is None
            if worker is None:
                worker = self.workers[hostname] = Worker(hostname)
                while len(self.workers) > self.max_workers_in_memory:
                    self.workers.popitem(last=False)
            self.workers.move_to_end(hostname)
            if fields:
                worker.update({"type": "worker-heartbeat", **fields})
            return worker, created

    def get_or_create_task(self, uuid: str) -> tuple[Task, bool]:
        """Return the task of this id and whether it is new."""
        with self._lock:
            task = self.tasks.get(uuid)
            created = task is None
            if task is None:
                task = self.tasks[uuid] = Task(uuid)
                while len(self.tasks) > self.max_tasks_in_memory:
                    self.tasks.popitem(last=False)
            self.tasks.move_to_end(uuid)
            return task, created

    # --- looking ----------------------------------------------------------------------------------

    def alive_workers(self) -> list[Worker]:
        """Return the workers that count as alive."""
        with self._lock:
            return [worker for worker in self.workers.values() if worker.alive]

    def tasks_by_time(
        self, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        """Yield ``(id, task)``, those with the latest event first."""
        with self._lock:
            ordered = sorted(
                self.tasks.items(), key=lambda pair: (pair[1].clock, pair[1].timestamp or 0.0)
            )
        if reverse:
            ordered.reverse()
        return iter(ordered if limit is None else ordered[:limit])

    tasks_by_timestamp = tasks_by_time
    itertasks = tasks_by_time

    def tasks_by_type(
        self, name: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        """Yield those of one task."""
        found = [pair for pair in self.tasks_by_time(reverse=reverse) if pair[1].name == name]
        return iter(found[:limit])

    def tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        """Yield those of one node."""
        found = [
            pair
            for pair in self.tasks_by_time(reverse=reverse)
            if pair[1].worker is not None and pair[1].worker.hostname == hostname
        ]
        return iter(found[:limit])

    def task_types(self) -> list[str]:
        """Return the names of all tasks that were heard of, sorted."""
        with self._lock:
            return sorted({task.name for task in self.tasks.values() if task.name is not None})

    def query(self, function: Callable[[State], Any]) -> Any:
        """Return ``function(state)``; nothing changes meanwhile."""
        with self._lock:
            return function(self)

    def freeze_while(
        self, function: Callable[..., Any], *args: Any, clear_after: bool = False, **kwargs: Any
    ) -> Any:
        """Call a function while nothing changes; with ``clear_after``, forget what has ended."""
        with self._lock:
            try:
                return function(*args, **kwargs)
            finally:
                if clear_after:
                    self.clear()

    # --- forgetting -------------------------------------------------------------------------------

    def clear(self, ready: bool = True) -> None:
        """Forget the workers, the counts, and tasks as ``clear_tasks`` does."""
        with self._lock:
            self.clear_tasks(ready)
            self.workers.clear()
            self.event_count = self.task_count = 0

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the tasks that have ended; all of them when ``ready`` is false."""
        with self._lock:
            kept = {} if not ready else {k: t for k, t in self.tasks.items() if not t.ready}
            self.tasks.clear()
            self.tasks.update(kept)

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={len(self.tasks)}>"
