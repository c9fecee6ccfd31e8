"""The smallest worker: one thread that claims, runs and settles, one task at a time."""

from __future__ import annotations

import itertools
import threading
from types import TracebackType
from typing import Any, Self

from umbel.app.app import App
from umbel.model.assignment import Assignment
from umbel.model.delivery import Effects, Settlement
from umbel.model.queues import Outgoing, Queue
from umbel.testing.conformance.station import presence
from umbel.wire import envelope
from umbel.worker.execution import Execution


class OneWorker:
    """Runs an app's tasks until the ``with`` block ends. What breaks it is raised there."""

    def __init__(self, app: App, queue: str) -> None:
        self._execution = Execution(app, node="one@test", pid=1)
        broker = app.broker
        queues = [Queue(name=queue)]
        broker.declare(queues)
        self._consumer = broker.open_consumer(
            queues, presence=presence(), lease=30, results=app.result_backend
        )
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="one-worker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._consumer.wake()
        self._thread.join(20)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # raised again where the test can see it
            self._error = error
        finally:
            self._consumer.close()

    def _work(self) -> None:
        numbers = itertools.count(1)
        while not self._stopping:
            for delivery in self._consumer.receive(1, 5):
                assignment = Assignment(
                    id=next(numbers),
                    raw=delivery.raw,
                    queue=delivery.queue,
                    count=delivery.count,
                    redelivered=delivery.redelivered,
                    soft_limit=None,
                    hard_limit=None,
                )
                prepared = self._execution.prepare(assignment)
                if prepared.began is not None and prepared.began.record is not None:
                    self._settle(delivery.receipt, None, Effects((prepared.began.record,)))
                report = self._execution.run(prepared)
                follow_ups = [
                    Outgoing(message=envelope.load(one.raw), queue=one.queue, due_at=one.due_at)
                    for one in report.outgoing
                ]
                effects = Effects(report.records, tuple(follow_ups), report.joins)
                self._settle(delivery.receipt, report.verdict, effects)

    def _settle(self, receipt: Any, verdict: Any, effects: Effects) -> None:
        self._consumer.exchange([Settlement(receipt, verdict, effects)], 0)
