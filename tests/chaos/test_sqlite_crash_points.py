"""A process is killed before each statement of a settlement in turn: it happened whole or not.

The kill is a real SIGKILL, sent by SQLite's own trace of the statement that is about to run.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from umbel.clock import SystemClock
from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.location import Location
from umbel.model.delivery import Ack, Effects, Quarantine, Requeue, Settlement, Verdict
from umbel.model.queues import Queue
from umbel.testing.conformance.station import (
    outgoing,
    presence,
    record,
    task_ids,
)

QUEUE, NEXT = Queue("celery"), Queue("next")
LEASE = 600.0
MOST_STATEMENTS = 60


class AfterTheLease(SystemClock):
    """The machine's clock, so much later that the dead process's lease has ended."""

    def monotonic(self) -> float:
        return super().monotonic() + LEASE + 1


def publish(location: Location, ids: Sequence[str]) -> None:
    driver = SqliteDriver(location, SystemClock())
    publisher = driver.broker().open_publisher()
    publisher.publish([outgoing(QUEUE, each) for each in ids], timeout=5)
    publisher.close()
    driver.broker().close()


def settle_and_die(location: Location, verdict: Verdict, statement: int) -> None:
    """In a child: claim one, settle it with results and follow-ups, die before a statement."""
    driver = SqliteDriver(location, SystemClock())
    results = driver.result_backend()
    consumer = driver.broker().open_consumer(
        [QUEUE], presence=presence(), lease=LEASE, results=results
    )
    (delivery,) = consumer.exchange([], 1).deliveries
    effects = Effects(
        (record("first", document=b"told"), record("beside", document=b"told")),
        (outgoing(NEXT, "follow-1"), outgoing(NEXT, "follow-2")),
    )
    left = statement

    def trace(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    database = consumer._connection._database
    assert database is not None
    database.set_trace_callback(trace)
    consumer.exchange([Settlement(delivery.receipt, verdict, effects)], 1)
    database.set_trace_callback(None)


def outcome(location: Location, verdict: Verdict, statement: int) -> int:
    """Return how the child ended: 0, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            settle_and_die(location, verdict, statement)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def found(location: Location) -> tuple[bool, int, dict[str, int]]:
    """What is in the file: are results told, how many follow-ups, and deliveries by task."""
    driver = SqliteDriver(location, AfterTheLease())
    told = driver.result_backend().fetch(["first", "beside"])
    assert len(told) in {0, 2}
    (stats,) = driver.broker().stats([NEXT.name])
    consumer = driver.broker().open_consumer([QUEUE], presence=presence(), lease=LEASE)
    deliveries = consumer.exchange([], 10).deliveries
    (left,) = driver.broker().stats([QUEUE.name])
    assert (left.ready, left.claimed) == (0, len(deliveries))
    counts = dict(zip(task_ids(deliveries), [each.count for each in deliveries], strict=True))
    consumer.close()
    driver.broker().close()
    return bool(told), stats.ready, counts


VERDICTS = [
    # verdict, what is there once it happened
    (Ack(), {"second": 2}),
    (Quarantine("why"), {"second": 2}),
    (Requeue(counted=True), {"first": 3, "second": 1}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("verdict", "after"), VERDICTS, ids=["ack", "quarantine", "requeue"])
def test_a_settlement_happens_as_a_whole_or_not_at_all(tmp_path: Path, verdict, after):
    killed = happened = 0
    for statement in range(1, MOST_STATEMENTS):
        location = Location(tmp_path / f"{statement}.sqlite3", synchronous="off")
        publish(location, ["first", "second"])
        status = outcome(location, verdict, statement)
        assert status in {0, -signal.SIGKILL}
        told, followed, counts = found(location)
        if told:
            happened += 1
            assert followed == 2
            assert counts == after
        else:
            assert followed == 0
            assert counts == {"first": 2, "second": 1}
        if status == 0:
            assert told
            break
        killed += 1
    else:
        pytest.fail("the settlement has more statements than the test knows of")
    assert killed >= 8
    assert happened >= 1
