"""What the suites share: messages to send, consumers that are closed in the end, waiting.

Called by the suites. Knows no driver.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from umbel.model.delivery import Delivery, Effects, Settlement, Verdict
from umbel.model.join import FillSlot, JoinStep
from umbel.model.message import EncodedMessage
from umbel.model.outcome import READY_STATES, ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import FollowUp, Outgoing, Queue
from umbel.ports import Broker, Consumer, ResultBackend
from umbel.wire import envelope

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which something that must happen is held not to happen. Never waited in full."""

LONG_LEASE = 600.0
"""A lease that cannot end within a test, however slow the machine."""


def new_id() -> str:
    """Return a task id that no other test uses."""
    return secrets.token_hex(16)


def message(task_id: str, priority: int = 0, body: bytes = b"[[2, 3], {}, null]") -> EncodedMessage:
    """Return a small encoded message."""
    return EncodedMessage(
        headers={"task": "tasks.add", "id": task_id, "lang": "py"},
        properties={"correlation_id": task_id, "priority": priority, "delivery_mode": 2},
        body=body,
        content_type="application/json",
        content_encoding="utf-8",
    )


def outgoing(
    queue: Queue, task_id: str, *, priority: int = 0, due_at: datetime | None = None
) -> Outgoing:
    """Return a small message on its way to ``queue``."""
    return Outgoing(message=message(task_id, priority), queue=queue, due_at=due_at)


def record(
    task_id: str,
    state: str = "SUCCESS",
    *,
    document: bytes | None = None,
    expires: float | None = None,
) -> ResultRecord:
    """Return a result record; its document tells the state, unless the test wants another.

    Stores that Celery shares keep nothing but the document, and read the state from it.
    """
    return ResultRecord(
        task_id=task_id,
        state=state,
        document=b'{"status": "%s"}' % state.encode() if document is None else document,
        final=state in READY_STATES,
        expires=expires,
    )


def settlement(
    delivery: Delivery,
    verdict: Verdict | None,
    *,
    records: Sequence[ResultRecord] = (),
    outgoing: Sequence[Outgoing] = (),
    joins: Sequence[JoinStep] = (),
) -> Settlement:
    """Return the end of a claim, with effects."""
    effects = Effects(tuple(records), tuple(outgoing), tuple(joins))
    return Settlement(delivery.receipt, verdict, effects)


def follow_up(queue: Queue, task_id: str) -> FollowUp:
    """Return a small message that waits in its envelope for the end of a join."""
    return FollowUp(envelope.dump_compact(message(task_id)), queue, None)


def slot(
    join_id: str,
    number: int | None,
    then: FollowUp,
    *,
    task_id: str | None = None,
    part: bytes | None = None,
) -> FillSlot:
    """Return the filling of one slot; its part tells the number, unless the test wants another."""
    name = f"member-{number}" if task_id is None else task_id
    said = b'[1, "%s", "SUCCESS", %d]' % (name.encode(), number or 0) if part is None else part
    return FillSlot(join_id, name, number, said, then)


def presence(owner: str | None = None, **fields: Any) -> Presence:
    """Return what a worker might tell about itself."""
    values: dict[str, Any] = {
        "owner": new_id() if owner is None else owner,
        "name": "worker@suite",
        "pid": 4711,
        "pool": "prefork",
        "concurrency": 2,
        "queues": ("celery",),
        "version": "0.0",
        "started": 1_900_000_000.0,
    }
    return Presence(**{**values, **fields})


def task_id_of(delivery: Delivery) -> str:
    """Return the task id inside a delivery, whichever form the store keeps."""
    return str(envelope.load(delivery.raw).headers["id"])


def task_ids(deliveries: Sequence[Delivery]) -> list[str]:
    """Return the task ids inside these deliveries, in order."""
    return [task_id_of(delivery) for delivery in deliveries]


def eventually(look: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Call ``look`` until it returns something true, and return that; fail after ``patience``."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(
                f"did not happen within {patience} s; the last look gave {found!r}"
            )
        time.sleep(0.005)


def wait_really(seconds: float) -> None:
    """Let this many real seconds pass: for stores whose clock a test cannot move."""
    deadline = time.monotonic() + seconds
    while (remaining := deadline - time.monotonic()) > 0:
        time.sleep(remaining)


def really_now() -> datetime:
    """Return the time: for stores whose clock a test cannot move."""
    return datetime.now(UTC)


class InThread:
    """Runs a function in a thread of its own and hands back its value or its exception."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 - raised again where it is asked for
            self._error = error

    def result(self, patience: float = PATIENCE) -> Any:
        """Return what the function returned; fail when it does not end."""
        self._thread.join(patience)
        if self._thread.is_alive():
            raise AssertionError(f"still running after {patience} s")
        if self._error is not None:
            raise self._error
        return self._value


class Station:
    """Consumers and publishers of one broker, closed when the test ends."""

    def __init__(self, broker: Broker, backend: ResultBackend | None) -> None:
        self.broker = broker
        self.backend = backend
        self._consumers: list[Consumer] = []

    def consumer(self, *queues: Queue, lease: float = LONG_LEASE, **fields: Any) -> Consumer:
        """Open a consumer of these queues; ``fields`` go into its presence."""
        consumer = self.broker.open_consumer(
            queues, presence=presence(**fields), lease=lease, results=self.backend
        )
        self._consumers.append(consumer)
        return consumer

    def publish(self, *messages: Outgoing) -> None:
        """Publish with a publisher opened for this call."""
        publisher = self.broker.open_publisher()
        try:
            publisher.publish(messages, timeout=PATIENCE)
        finally:
            publisher.close()

    def send(self, queue: Queue, count: int = 1, **options: Any) -> list[str]:
        """Publish ``count`` new messages to ``queue``; return their ids in order."""
        ids = [new_id() for _ in range(count)]
        self.publish(*(outgoing(queue, task_id, **options) for task_id in ids))
        return ids

    def close(self) -> None:
        """Close every consumer opened here."""
        for consumer in self._consumers:
            consumer.close()


@contextmanager
def station_of(broker: Broker, backend: ResultBackend | None) -> Iterator[Station]:
    """Open a station and close it at the end, whatever happens."""
    station = Station(broker, backend)
    try:
        yield station
    finally:
        station.close()


def needs(station: Station, capability: str) -> None:
    """Skip the test where the broker does not claim this capability."""
    if not getattr(station.broker.capabilities, capability):
        pytest.skip(f"the broker has no {capability}")


class Anything:
    """Equal to every number: what a broker does not tell cannot be wrong."""

    __hash__ = None  # type: ignore[assignment] # equal to all, so of no use in a set

    def __eq__(self, other: object) -> bool:
        return True


def places(station: Station, queue: Queue) -> tuple[Any, Any, Any]:
    """Return how many messages of the queue are ready, claimed, delayed.

    A number that the broker does not tell (``Capabilities.counts_all``) is equal to any.
    """
    (stats,) = station.broker.stats([queue.name])
    told = station.broker.capabilities.counts_all
    assert (stats.claimed is not None and stats.delayed is not None) == told
    if not told:
        return stats.ready, Anything(), Anything()
    return stats.ready, stats.claimed, stats.delayed


def let_go(consumer: Consumer, station: Station) -> None:
    """Let a consumer that messages come to by themselves give back what it was not asked for."""
    if station.broker.capabilities.pushes:
        consumer.receive(0, 1.0)


def urgencies(station: Station) -> tuple[int, int, int]:
    """Return three priorities, the most urgent first."""
    return (9, 3, 0) if station.broker.capabilities.highest_first else (0, 3, 9)


def drained(station: Station, consumer: Consumer, limit: int) -> Sequence[Delivery]:
    """Receive up to ``limit`` messages, or nothing when the queue is empty."""
    return consumer.receive(limit, 1.0 if station.broker.capabilities.pushes else 0.0)


def take(consumer: Consumer, count: int) -> list[Delivery]:
    """Receive exactly ``count`` messages, or fail."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise AssertionError(f"only {len(taken)} of {count} messages came")
        taken.extend(consumer.receive(count - len(taken), remaining))
    return taken
