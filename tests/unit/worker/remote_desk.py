"""A whole worker inside the test's process, on threads: solo, over the memory driver."""

from __future__ import annotations

import threading
from typing import Any

from umbel import Umbel
from umbel.app import logs
from umbel.clock import SystemClock
from umbel.worker.bus_station import open_station
from umbel.worker.execution import Execution
from umbel.worker.intake import Intake
from umbel.worker.loading import make_plan
from umbel.worker.pools.solo import SoloPool
from umbel.worker.supervisor import Supervisor
from umbel.worker.wiring import open_stores, presence_of
from umbel.worker.worker_options import WorkerOptions

PATIENCE = 20.0


class RemoteDesk:
    """One worker of ``app``; ends with the ``with`` block."""

    def __init__(self, app: Umbel, node: str = "w1@here", **options: Any) -> None:
        log = logs.log_plan(app.settings, node=node, loglevel=None, logfile=None)
        self.plan = make_plan(app, WorkerOptions(**options), pool="solo", node=node, log=log)
        broker, backend = open_stores(self.plan)
        pool, clock = SoloPool(Execution(app, node=node, pid=1)), SystemClock()
        intake = Intake(
            broker, backend, self.plan, presence_of(self.plan), clock=clock, notify=pool.wake
        )
        station = open_station(self.plan, clock)
        assert station is not None
        self.station = station
        self.supervisor = Supervisor(
            self.plan, pool, intake, clock, lambda _: None, station.observer
        )
        station.serve(self.supervisor, pool, intake, broker)
        self.thread = threading.Thread(target=self.supervisor.run)
        self.thread.start()
        assert intake.connected.wait(PATIENCE)

    def __enter__(self) -> RemoteDesk:
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.ask_to_stop()
        self.thread.join(PATIENCE)
        self.station.remote.stop(PATIENCE)
        assert not self.thread.is_alive()
