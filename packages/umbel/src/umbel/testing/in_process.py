"""The real worker, put together in this process: what ``sandbox`` steps and ``worker_thread`` runs.

Supervisor, intake and the ``solo`` pool are those of ``umbel worker -P solo``; only what belongs to
a process of its own is left out: signals, logging set-up, remote control, health.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from umbel.app import logs
from umbel.clock import Clock
from umbel.ports import Broker, Pool, ResultBackend
from umbel.worker.execution import Execution
from umbel.worker.intake import Intake
from umbel.worker.loading import make_plan, traits_of
from umbel.worker.plan import TaskTraits
from umbel.worker.pools.solo import SoloPool
from umbel.worker.supervisor import Supervisor
from umbel.worker.wiring import presence_of
from umbel.worker.worker_options import WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from umbel.app.app import App


class _LiveTraits(Mapping[str, TaskTraits]):
    """What the supervisor knows of the app's tasks: those that tests define later, too."""

    def __init__(self, app: App) -> None:
        self._tasks = app.tasks
        self._rated = not app.settings.worker_disable_rate_limits

    def __getitem__(self, name: str) -> TaskTraits:
        return traits_of(dict.__getitem__(self._tasks, name), rated=self._rated)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


class Machine(msgspec.Struct):
    """The parts of one worker. Nothing runs yet."""

    supervisor: Supervisor
    intake: Intake
    pool: Pool


def assemble(
    app: App,
    broker: Broker,
    backend: ResultBackend | None,
    *,
    clock: Clock,
    queues: Sequence[str] = (),
    around: Callable[[SoloPool], Pool] = lambda pool: pool,
) -> Machine:
    """Return a worker of this app; ``queues`` by default those of its settings.

    ``around`` may put something between the pool and the supervisor. Raises ImproperlyConfigured.
    """
    app.finalize(auto=True)
    node = f"test{uuid.uuid4().hex[:6]}@localhost"
    options = WorkerOptions(app_object=app, queues=tuple(queues), without_heartbeat=True)
    log = logs.log_plan(app.settings, node=node)
    plan = make_plan(app, options, pool="solo", node=node, log=log)
    plan = msgspec.structs.replace(plan, tasks=_LiveTraits(app))
    pool = around(SoloPool(Execution(app, node=node, pid=os.getpid())))
    intake = Intake(broker, backend, plan, presence_of(plan), clock=clock, notify=pool.wake)
    return Machine(Supervisor(plan, pool, intake, clock), intake, pool)
