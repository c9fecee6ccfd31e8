"""A worker on PostgreSQL, as a process: the first run, a restart of its sessions, a kill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import postgres_server
from tests.e2e.worker_desk import PATIENCE, Desk
from umbel import chain, chord, group
from umbel.drivers.opening import open_driver
from umbel.model.bus import Mailbox, Spread, Topic
from umbel.testing.conformance.station import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server.database("worker") as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, url: str) -> Iterator[Desk]:
    desk = Desk(tmp_path, url)
    yield desk
    desk.close()


def test_tasks_run_and_their_results_come_back(desk: Desk) -> None:
    with desk.worker("-c", "2"):
        sent = desk.tasks.add.send_many([(number, 1) for number in range(500)])
        assert sent.get(timeout=PATIENCE) == [number + 1 for number in range(500)]
        assert desk.tasks.retry_twice.delay().get(timeout=PATIENCE) == 2
        assert desk.stats() == (0, 0, 0)


def test_a_worker_lives_on_when_the_server_ends_its_sessions(desk: Desk, url: str) -> None:
    with desk.worker("-c", "2") as worker, psycopg.connect(url, autocommit=True) as admin:
        assert desk.tasks.add.delay(1, 2).get(timeout=PATIENCE) == 3
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        worker.wait_for(r"was lost|cannot be reached")
        assert desk.tasks.add.delay(3, 4).get(timeout=PATIENCE) == 7


def test_a_message_of_a_transaction_is_run_once_it_is_committed(desk: Desk, url: str) -> None:
    with desk.worker("-c", "1"), psycopg.connect(url) as connection:
        lost = desk.tasks.add.delay_tx(connection, 1, 1)
        connection.rollback()
        sent = desk.tasks.add.delay_tx(connection, 2, 2)
        connection.commit()
        assert sent.get(timeout=PATIENCE) == 4
        assert lost.state == "PENDING"


def test_a_chord_is_counted_by_two_workers(desk: Desk) -> None:
    add, total = desk.tasks.add, desk.tasks.total
    with desk.worker("-c", "2"), desk.worker("-c", "2"):
        header = [add.s(number, 1) for number in range(60)]
        handle = chord(header, total.s()).apply_async()
        assert handle.get(timeout=PATIENCE) == sum(range(60)) + 60
        nested = chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(10)).apply_async()
        assert nested.get(timeout=PATIENCE) == 16


def test_events_of_a_worker_are_heard(desk: Desk, url: str) -> None:
    bus = open_driver(url, {}).bus()
    assert bus is not None
    events = Mailbox(topic=Topic("celeryev", Spread.BY_PATTERN), binding="#", queue="ear")
    line = bus.open_line([events])
    line.listen(PATIENCE)
    heard = b""
    with desk.worker("-E", "-c", "1"):
        assert desk.tasks.add.delay(1, 2).get(timeout=PATIENCE) == 3
        deadline = time.monotonic() + PATIENCE
        while b"task-succeeded" not in heard and time.monotonic() < deadline:
            heard += b"".join(each.message.body for each in line.receive(1.0))
    line.close()
    assert b"worker-online" in heard
    assert b"task-succeeded" in heard


def test_two_schedulers_send_each_run_once(tmp_path: Path, url: str) -> None:
    # The schedule rests with the queues: what is due is sent in the transaction that says so.
    often = {"task": "desk_tasks.greet", "schedule": 0.3, "args": ("you",)}
    desk = Desk(tmp_path, url, beat_schedule={"often": often}, task_default_queue="beat")
    with desk.worker("-B", "-c", "1") as one, desk.worker("-B", "-c", "1") as two:
        eventually(lambda: len(desk.lines("greeted")) >= 4)
        assert [one.end(), two.end()] == [0, 0]
    (stats,) = desk.app.broker.stats(["beat"])
    assert desk.app.schedule.get("often").runs == len(desk.lines("greeted")) + stats.ready
    desk.close()
