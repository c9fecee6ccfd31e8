"""How should processes that share one SQLite file hear of each other's commits?

Prints, for each way: how long after the beginning of a commit another process has read the new row,
what waking costs the writer in addition, and what waiting costs a process while nothing happens.
Then the same for the driver itself: from the call of ``publish`` until another process's
``receive`` has returned with the claim, and from ``store`` until another process's watcher tells.

    PYTHONPATH=packages/umbel/src python benchmarks/decisions/sqlite_wakeup.py

Decision: docs/design/0004-how-sqlite-processes-wake-each-other.md. Linux only (inotify).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import multiprocessing
import os
import secrets
import selectors
import socket
import sqlite3
import statistics
import struct
import tempfile
import time
from abc import ABC, abstractmethod
from multiprocessing.connection import Connection
from pathlib import Path

from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.location import Location
from umbel.model.message import EncodedMessage
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue
from umbel.wire import envelope

IN_MODIFY = 0x00000002


class Way(ABC):
    """One way of waiting and of waking. A new one for each process."""

    def __init__(self, directory: Path, database: sqlite3.Connection) -> None:
        self.directory = directory
        self.database = database

    def prepare(self) -> None:  # noqa: B027 - not every way has something to prepare
        """Get ready to wait: before the first look at the table."""

    @abstractmethod
    def wait(self, timeout: float) -> None: ...

    def ring(self) -> None:  # noqa: B027 - some ways need no ringing
        """Wake the others after a commit."""


class Polling(Way):
    """``PRAGMA data_version`` again and again."""

    interval = 0.001

    def prepare(self) -> None:
        self.version = self._version()

    def _version(self) -> int:
        return int(self.database.execute("PRAGMA data_version").fetchone()[0])

    def wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            version = self._version()
            if version != self.version:
                self.version = version
                return
            time.sleep(self.interval)


class Polling10(Polling):
    interval = 0.010


class Polling20(Polling):
    interval = 0.020


class Inotify(Way):
    """The kernel tells of writes to the -wal file, with one look at the table afterwards."""

    def prepare(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init()
        path = str(self.directory / "queue.db-wal").encode()
        if libc.inotify_add_watch(self.descriptor, path, IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch failed")
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.descriptor, selectors.EVENT_READ)

    def wait(self, timeout: float) -> None:
        if self.selector.select(timeout):
            data = os.read(self.descriptor, 65536)
            assert len(data) >= struct.calcsize("iIII")


class Fifo(Way):
    """A named pipe for each who waits; one open, write and close for each ring."""

    def prepare(self) -> None:
        path = self.directory / "bells" / f"{os.getpid()}.fifo"
        os.mkfifo(path)
        self.descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.descriptor, selectors.EVENT_READ)

    def wait(self, timeout: float) -> None:
        if self.selector.select(timeout):
            os.read(self.descriptor, 65536)

    def ring(self) -> None:
        with os.scandir(self.directory / "bells") as bells:
            for bell in bells:
                try:
                    descriptor = os.open(bell.path, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:
                    continue
                with contextlib.suppress(BlockingIOError):
                    os.write(descriptor, b"!")
                os.close(descriptor)


class Datagram(Way):
    """A Unix datagram socket for each who waits; one sendto for each ring."""

    sender: socket.socket | None = None

    def prepare(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(self.directory / "bells" / f"{os.getpid()}.sock"))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.socket, selectors.EVENT_READ)

    def wait(self, timeout: float) -> None:
        if self.selector.select(timeout):
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.socket.recv(16)

    def ring(self) -> None:
        if self.sender is None:
            self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.sender.setblocking(False)
        with os.scandir(self.directory / "bells") as bells:
            for bell in bells:
                with contextlib.suppress(OSError):
                    self.sender.sendto(b"!", bell.path)


QUEUE = Queue("celery")


def presence() -> Presence:
    return Presence(
        owner=secrets.token_hex(16),
        name="celery@host",
        pid=os.getpid(),
        pool="prefork",
        concurrency=1,
        queues=("celery",),
        version="0",
        started=0.0,
    )


def driver_waiter(kind: str, directory: Path, pipe: Connection, idle: float) -> None:
    """Wait in the driver's own consumer or watcher; tell how late each message or record came."""
    driver = SqliteDriver(Location(directory / "queue.db"))
    latencies: list[float] = []
    if kind == "publish to receive":
        consumer = driver.broker().open_consumer(
            [QUEUE], presence=presence(), lease=15.0, results=driver.result_backend()
        )
        receive = lambda timeout: [  # noqa: E731 - two ways of asking, one loop
            int.from_bytes(envelope.load(each.raw).body) for each in consumer.receive(10, timeout)
        ]
        consumer.receive(1, 0.0)
    else:
        watcher = driver.result_backend().open_watcher()
        watcher.watch([f"task-{number}" for number in range(2000)])
        receive = lambda timeout: [  # noqa: E731
            int.from_bytes(each.document) for each in watcher.receive(timeout)
        ]
    pipe.send("ready")
    before = time.process_time()
    receive(idle)
    pipe.send((time.process_time() - before) / idle)
    while not pipe.poll(0):
        told = receive(0.5)
        now = time.monotonic_ns()
        latencies += [(now - at) / 1e6 for at in told]
    pipe.send(latencies)


def measure_driver(kind: str, samples: int, idle: float, waiters: int) -> dict[str, float | str]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("UMBEL_BENCH_DIR")) as text:
        directory = Path(text)
        driver = SqliteDriver(Location(directory / "queue.db"))
        publisher, backend = driver.broker().open_publisher(), driver.result_backend()
        context = multiprocessing.get_context("spawn")
        pipes = []
        for _ in range(waiters):
            ours, theirs = context.Pipe()
            context.Process(target=driver_waiter, args=(kind, directory, theirs, idle)).start()
            pipes.append(ours)
        assert all(pipe.recv() == "ready" for pipe in pipes)
        idle_cpu = statistics.mean(pipe.recv() for pipe in pipes)
        calls: list[float] = []
        for number in range(samples):
            time.sleep(0.003 + 0.0007 * (number % 11))
            began = time.perf_counter()
            stamp = time.monotonic_ns().to_bytes(8)
            if kind == "publish to receive":
                message = EncodedMessage(
                    headers={}, properties={}, body=stamp, content_type="", content_encoding=""
                )
                publisher.publish([Outgoing(message=message, queue=QUEUE)], timeout=5.0)
            else:
                backend.store(
                    [
                        ResultRecord(
                            task_id=f"task-{number}", state="SUCCESS", document=stamp, final=True
                        )
                    ]
                )
            calls.append((time.perf_counter() - began) * 1e6)
        time.sleep(0.1)
        for pipe in pipes:
            pipe.send("stop")
        latencies = sorted(latency for pipe in pipes for latency in pipe.recv())
        return {
            "the driver": kind,
            "p50 ms": statistics.median(latencies),
            "p99 ms": latencies[int(len(latencies) * 0.99)],
            "max ms": latencies[-1],
            "call us": statistics.median(calls),
            "idle cpu %": idle_cpu * 100,
        }


def show(rows: list[dict[str, float | str]]) -> None:
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        cells = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())
        print("| " + " | ".join(cells) + " |")
    print()


WAYS: dict[str, type[Way]] = {
    "data_version, 1 ms": Polling,
    "data_version, 10 ms": Polling10,
    "data_version, 20 ms": Polling20,
    "inotify on -wal": Inotify,
    "FIFO": Fifo,
    "Unix datagram": Datagram,
}


def connect(directory: Path) -> sqlite3.Connection:
    database = sqlite3.connect(directory / "queue.db", isolation_level=None, timeout=5)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS work (id INTEGER PRIMARY KEY, at INTEGER)")
    return database


def waiter(name: str, directory: Path, pipe: Connection, idle: float) -> None:
    database = connect(directory)
    way = WAYS[name](directory, database)
    way.prepare()
    pipe.send("ready")
    before = time.process_time()
    deadline = time.monotonic() + idle
    while (remaining := deadline - time.monotonic()) > 0:
        way.wait(remaining)
    pipe.send((time.process_time() - before) / idle)
    seen, missed, latencies = 0, 0, []
    while True:
        rows = database.execute("SELECT id, at FROM work WHERE id > ?", (seen,)).fetchall()
        now = time.monotonic_ns()
        for number, at in rows:
            seen = number
            latencies.append((now - at) / 1e6)
        if pipe.poll(0):
            break
        began = time.monotonic()
        way.wait(0.5)
        if time.monotonic() - began > 0.49:
            missed += 1
    pipe.send((latencies, missed))


def measure(name: str, samples: int, idle: float, waiters: int) -> dict[str, float | str]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("UMBEL_BENCH_DIR")) as text:
        directory = Path(text)
        (directory / "bells").mkdir()
        database = connect(directory)
        database.execute("INSERT INTO work (at) VALUES (?)", (time.monotonic_ns(),))
        way = WAYS[name](directory, database)
        context = multiprocessing.get_context("spawn")
        pipes = []
        for _ in range(waiters):
            ours, theirs = context.Pipe()
            context.Process(target=waiter, args=(name, directory, theirs, idle)).start()
            pipes.append(ours)
        assert all(pipe.recv() == "ready" for pipe in pipes)
        idle_cpu = statistics.mean(pipe.recv() for pipe in pipes)
        commits, rings = [], []
        for number in range(samples):
            time.sleep(0.003 + 0.0007 * (number % 11))
            began = time.perf_counter()
            database.execute("INSERT INTO work (at) VALUES (?)", (time.monotonic_ns(),))
            middle = time.perf_counter()
            way.ring()
            rings.append((time.perf_counter() - middle) * 1e6)
            commits.append((middle - began) * 1e6)
        time.sleep(0.1)
        for pipe in pipes:
            pipe.send("stop")
        latencies, missed = [], 0
        for pipe in pipes:
            ours_seen, ours_missed = pipe.recv()
            latencies += ours_seen[1:]
            missed += max(0, ours_missed - 1)
        latencies.sort()
        return {
            "way": name,
            "p50 ms": statistics.median(latencies),
            "p99 ms": latencies[int(len(latencies) * 0.99)],
            "max ms": latencies[-1],
            "commit us": statistics.median(commits),
            "ring us": statistics.median(rings),
            "idle cpu %": idle_cpu * 100,
            "missed": missed,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--idle", type=float, default=2.0, help="seconds of silence")
    parser.add_argument("--waiters", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(name, options.samples, options.idle, options.waiters) for name in WAYS]
    driver_rows = [
        measure_driver(kind, options.samples, options.idle, options.waiters)
        for kind in ("publish to receive", "store to watcher")
    ]
    if options.json:
        print(json.dumps([*rows, *driver_rows], indent=2))
        return
    show(rows)
    show(driver_rows)


if __name__ == "__main__":
    main()
