"""What stands between a worker and the bus, put together: events out, commands in.

Made by ``wiring`` before the supervisor, which it watches, and joined to it when that is there.
"""

from __future__ import annotations

import logging
import os

import msgspec

from umbel.clock import Clock, LogicalClock
from umbel.drivers.opening import open_bus
from umbel.monitoring.emitter import Emitter
from umbel.ports import Broker, Pool
from umbel.worker.answering import Answering
from umbel.worker.commands import Commands
from umbel.worker.intake import Intake
from umbel.worker.observing import Observer
from umbel.worker.plan import WorkerPlan
from umbel.worker.remote import Remote
from umbel.worker.steering import Steering
from umbel.worker.supervisor import Supervisor

logger = logging.getLogger("umbel.worker")


class Station(msgspec.Struct, frozen=True):
    """One worker's. ``observer`` goes to the supervisor; ``remote`` owns the bus."""

    plan: WorkerPlan
    remote: Remote
    observer: Observer
    clock: LogicalClock

    def serve(self, supervisor: Supervisor, pool: Pool, intake: Intake, broker: Broker) -> None:
        """Join these, and start the thread that owns the bus. Before the intake starts."""
        intake.on_refused = self.observer.refused
        answering = Answering(
            self.plan,
            broker,
            self.observer,
            self.clock,
            revoked=intake.revoked_ids,
            beat=self.remote.beat_soon,
        )
        steering = Steering(self.plan, supervisor, pool)
        commands = Commands(answering, steering, supervisor.call_soon)

        def load() -> tuple[int, int]:
            running = min(len(supervisor.ledger), supervisor.slots)
            return running, sum(tuple(supervisor.processed.values()))

        self.remote.start(load, commands.handle)


def open_station(plan: WorkerPlan, clock: Clock) -> Station | None:
    """Return the station of a worker; None where the broker has no bus. Connects to nothing yet."""
    bus = open_bus(plan.broker_url, plan.broker_options)
    if bus is None:
        if plan.task_events:
            logger.warning("This broker carries no events: -E has no effect")
        return None

    def now() -> float:
        return clock.now().timestamp()

    ticks = LogicalClock()
    emitter = Emitter(plan.node, os.getpid(), ticks, now)
    remote = Remote(bus, plan, emitter, ticks)
    observer = Observer(emitter, now, watching=plan.task_events, notify=remote.nudge)
    return Station(plan, remote, observer, ticks)
