"""Several processes on one database file: sharing, waking, dying, forking."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.bells import Bell, Interest, directory_of, ring
from umbel.drivers.sqlite.location import Location
from umbel.model.delivery import Ack, Delivery
from umbel.model.queues import Queue
from umbel.testing.conformance.station import (
    LONG_LEASE,
    PATIENCE,
    InThread,
    Station,
    eventually,
    new_id,
    outgoing,
    places,
    presence,
    record,
    settlement,
    station_of,
    take,
    task_ids,
)

QUEUE = Queue("celery")
SPAWN = multiprocessing.get_context("spawn")
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "umbel.sqlite3"


@pytest.fixture
def driver(file: Path) -> Iterator[SqliteDriver]:
    driver = SqliteDriver(Location(file))
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def station(driver: SqliteDriver) -> Iterator[Station]:
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


class Child:
    """A process that runs a function with one end of a pipe, and is killed in the end."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=function, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def told(self) -> Any:
        if not self.pipe.poll(PATIENCE):
            raise AssertionError("the child process said nothing")
        return self.pipe.recv()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(function: Callable[..., None], *arguments: Any) -> Child:
        children.append(Child(function, *arguments))
        return children[-1]

    yield start
    for each in children:
        each.end()


def drain(file: Path, pipe: Connection) -> None:
    driver = SqliteDriver(Location(file))
    consumer = driver.broker().open_consumer(
        [QUEUE], presence=presence(), lease=LONG_LEASE, results=driver.result_backend()
    )
    pipe.send("ready")
    done: list[str] = []
    deliveries: Sequence[Delivery] = ()
    while deliveries or not pipe.poll():
        if not deliveries:
            deliveries = consumer.receive(7, 0.2)
            continue
        ids = task_ids(deliveries)
        ends = [
            settlement(each, Ack(), records=[record(task_id)])
            for each, task_id in zip(deliveries, ids, strict=True)
        ]
        exchange = consumer.exchange(ends, 7)
        assert exchange.lost == ()
        done += ids
        deliveries = exchange.deliveries
    consumer.close()
    pipe.send(done)


def test_processes_share_a_queue(
    station: Station, file: Path, child: Callable[..., Child], driver: SqliteDriver
) -> None:
    workers = [child(drain, file) for _ in range(3)]
    assert [worker.told() for worker in workers] == ["ready"] * 3
    ids = station.send(QUEUE, 600)
    ids += [task_id for _ in range(100) for task_id in station.send(QUEUE)]
    eventually(lambda: places(station, QUEUE) == (0, 0, 0))
    for worker in workers:
        worker.pipe.send("stop")
    done = [task_id for worker in workers for task_id in worker.told()]
    assert sorted(done) == sorted(ids)
    assert set(driver.result_backend().fetch(ids)) == set(ids)


def claim_and_wait(file: Path, lease: float, pipe: Connection) -> None:
    consumer = (
        SqliteDriver(Location(file))
        .broker()
        .open_consumer([QUEUE], presence=presence(), lease=lease)
    )
    pipe.send(task_ids(take(consumer, 2)))
    consumer.receive(0, PATIENCE)


def test_what_a_killed_process_held_is_rescued(
    station: Station, file: Path, child: Callable[..., Child]
) -> None:
    ids = station.send(QUEUE, 2)
    victim = child(claim_and_wait, file, 0.5)
    assert victim.told() == ids
    os.kill(victim.process.pid, signal.SIGKILL)
    rescued = take(station.consumer(QUEUE), 2)
    assert task_ids(rescued) == ids
    assert [each.count for each in rescued] == [2, 2]


def test_the_bell_of_a_killed_process_is_taken_away(
    station: Station, file: Path, child: Callable[..., Child]
) -> None:
    station.send(QUEUE, 2)
    victim = child(claim_and_wait, file, LONG_LEASE)
    victim.told()
    (bell,) = eventually(lambda: list(directory_of(file).glob("m-*")))
    assert str(victim.process.pid) in bell.name
    victim.end()
    station.send(QUEUE)
    assert not bell.exists()


def echo(file: Path, pipe: Connection) -> None:
    """Answer each message by its result, at once."""
    driver = SqliteDriver(Location(file))
    consumer = driver.broker().open_consumer(
        [QUEUE], presence=presence(), lease=LONG_LEASE, results=driver.result_backend()
    )
    pipe.send("ready")
    while True:
        for delivery in consumer.receive(1, PATIENCE):
            (task_id,) = task_ids([delivery])
            consumer.exchange([settlement(delivery, Ack(), records=[record(task_id)])], 0)


def test_processes_wake_each_other_at_once(
    driver: SqliteDriver, file: Path, child: Callable[..., Child]
) -> None:
    assert child(echo, file).told() == "ready"
    publisher, watcher = driver.broker().open_publisher(), driver.result_backend().open_watcher()
    seconds: list[float] = []
    for _ in range(25):
        task_id = new_id()
        watcher.watch([task_id])
        began = time.monotonic()
        publisher.publish([outgoing(QUEUE, task_id)], timeout=5.0)
        (heard,) = watcher.receive(PATIENCE)
        seconds.append(time.monotonic() - began)
        assert heard.task_id == task_id
        watcher.unwatch([task_id])
    watcher.close()
    publisher.close()
    # There and back: two wake-ups. About 2 ms on a quiet machine; without bells it would be about
    # a second, so the bound is far from both.
    assert statistics.median(seconds) < 0.1


def test_waiting_costs_next_to_nothing(station: Station) -> None:
    consumer = station.consumer(QUEUE)
    consumer.receive(1, 0.0)
    before = time.thread_time()
    consumer.receive(1, 1.0)
    assert time.thread_time() - before < 0.02


NEXT = Queue("next")


def chain(file: Path, pipe: Connection) -> None:
    """Settle one by one, each with a result and a message to the next queue, until killed."""
    driver = SqliteDriver(Location(file))
    consumer = driver.broker().open_consumer(
        [QUEUE], presence=presence(), lease=0.3, results=driver.result_backend()
    )
    pipe.send("ready")
    while True:
        for delivery in consumer.receive(5, 1.0):
            (task_id,) = task_ids([delivery])
            follow_up = outgoing(NEXT, task_id)
            end = settlement(delivery, Ack(), records=[record(task_id)], outgoing=[follow_up])
            consumer.exchange([end], 0)


def test_a_crash_at_any_moment_loses_nothing_and_repeats_no_effect(
    station: Station, file: Path, child: Callable[..., Child], driver: SqliteDriver
) -> None:
    ids = station.send(QUEUE, 2000)
    for _ in range(5):
        victim = child(chain, file)
        assert victim.told() == "ready"
        ready = places(station, QUEUE)[0]
        eventually(lambda ready=ready: places(station, QUEUE)[0] < ready - 20)
        victim.end()
    child(chain, file)
    eventually(lambda: places(station, QUEUE) == (0, 0, 0))
    assert places(station, NEXT) == (2000, 0, 0)
    followed = task_ids(take(station.consumer(NEXT), 2000))
    assert sorted(followed) == sorted(ids)
    assert set(driver.result_backend().fetch(ids)) == set(ids)


# --- bells ----------------------------------------------------------------------------------------


def test_bells_come_and_go(file: Path) -> None:
    ring(file, Interest.MESSAGES)
    first, second = Bell(file, Interest.MESSAGES), Bell(file, Interest.RESULTS)
    assert sorted(os.listdir(directory_of(file))) == sorted([first.name, second.name])
    first.close()
    first.close()
    second.close()
    assert not directory_of(file).exists()


def test_a_bell_is_rung_for_its_interest_and_not_by_its_owner(file: Path) -> None:
    bell = Bell(file, Interest.MESSAGES)
    waited: list[float] = []

    def wait() -> None:
        began = time.monotonic()
        bell.wait(0.05)
        waited.append(time.monotonic() - began)

    ring(file, Interest.RESULTS)
    ring(file, Interest.MESSAGES, but=bell.name)
    wait()
    ring(file, Interest.MESSAGES)
    wait()
    wait()
    bell.close()
    assert [seconds > 0.04 for seconds in waited] == [True, False, True]


def test_a_full_bell_neither_blocks_nor_fails(file: Path) -> None:
    bell = Bell(file, Interest.MESSAGES)
    for _ in range(70_000):
        ring(file, Interest.MESSAGES)
    bell.wait(PATIENCE)
    began = time.monotonic()
    bell.wait(0.05)
    assert time.monotonic() - began > 0.04
    bell.close()


def test_without_named_pipes_it_looks_often(station: Station, file: Path) -> None:
    directory_of(file).write_text("in the way of the directory")
    waiting = InThread(lambda: task_ids(take(station.consumer(QUEUE), 1)))
    watcher = station.backend.open_watcher() if station.backend else None
    assert watcher is not None
    (task_id,) = station.send(QUEUE)
    assert waiting.result() == [task_id]
    watcher.watch([task_id])
    threading.Timer(0.05, station.backend.store, ([record(task_id)],)).start()
    assert [each.task_id for each in watcher.receive(PATIENCE)] == [task_id]
    watcher.close()


# --- forks ----------------------------------------------------------------------------------------


@FORKS
def test_a_fork_makes_connections_of_its_own(
    driver: SqliteDriver, station: Station, file: Path
) -> None:
    backend, publisher = driver.result_backend(), driver.broker().open_publisher()
    consumer = station.consumer(QUEUE)
    (claimed,) = station.send(QUEUE)
    (delivery,) = take(consumer, 1)
    ids = [new_id() for _ in range(3)]
    backend.store([record(ids[0])])
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            backend.store([record(ids[1])])
            publisher.publish([outgoing(QUEUE, ids[1])], timeout=5.0)
            consumer.close()
            driver.broker().close()
            backend.close()
            publisher.close()
            status = 0
        finally:
            os._exit(status)
    backend.store([record(ids[2])])
    assert os.waitpid(pid, 0)[1] == 0
    assert set(backend.fetch(ids)) == set(ids)
    assert task_ids(take(consumer, 1)) == [ids[1]]
    assert consumer.exchange([settlement(delivery, Ack(), records=[record(claimed)])], 0).lost == ()
    publisher.close()
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
