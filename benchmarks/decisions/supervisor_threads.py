"""One loop, two threads or one asyncio loop in the funnel's supervisor?

``python -m benchmarks.decisions.supervisor_threads`` prints the tables of
``docs/design/0002-threads-of-the-supervisor.md``: a full queue drained, one task at a time, and how
late a timer of the supervisor fires while the server does not answer. Two executors; arms in turn.

Each arm is a generator-free class with ``serve()``: the supervisor of a forked child process, which
ends after a given number of tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import signal
import socket
import statistics
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

import hiredis
import msgspec
from redis.asyncio import Redis as AsyncRedis

from benchmarks.decisions import prototype
from benchmarks.decisions.funnel import Settled, Store
from benchmarks.private_redis import PrivateRedis, private_redis

Claimed = list[tuple[int, bytes]]
Order = tuple[Settled, int]
T = TypeVar("T")
TICK = 0.02  # what enforces time limits looks every 20 ms in all arms


def command(*words: str) -> bytes:
    """Return a command as the server reads it."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # stub: one word only
    return packed


class Bell:
    """Waits for a message without taking it, on a connection of its own that select() can watch."""

    WAIT = command("BLMOVE", prototype.QUEUE, prototype.QUEUE, "RIGHT", "RIGHT", "0")

    def __init__(self, server: PrivateRedis) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader()
        self.armed = False
        self.socket.sendall(command("SELECT", "10"))
        self._reply()

    def arm(self) -> None:
        """Ask to be rung when there is something in the queue."""
        if not self.armed:
            self.socket.sendall(self.WAIT)
            self.armed = True

    def rung(self) -> None:
        """Read the ring off the socket."""
        self._reply()
        self.armed = False

    def _reply(self) -> None:
        while (reply := self.reader.gets()) is False:
            self.reader.feed(self.socket.recv(65_536))
        if isinstance(reply, Exception):
            raise reply


class Hands:
    """The executors and what each of them holds: at most two batches."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.ends = prototype.fork_executors(2, prototype.Load())
        self.frames = {end: prototype.Frames(end) for end in self.ends}
        self.held = dict.fromkeys(self.ends, 0)

    def room(self) -> int:
        """How many tasks may be claimed."""
        return 4 * self.batch - sum(self.held.values())

    def give(self, claimed: Claimed) -> None:
        """Hand over to whoever holds least, half a share at a time."""
        now = [pair for pair in claimed if prototype.peek(pair[1]).headers.eta is None]
        for start in range(0, len(now), self.batch):
            part = now[start : start + self.batch]
            end = min(self.ends, key=self.held.__getitem__)
            self.held[end] += len(part)
            prototype.send_frame(end, prototype.pack(part))

    def take(self, end: socket.socket) -> Settled:
        """Return what this executor has reported."""
        self.frames[end].feed()
        reports: Settled = []
        while (frame := self.frames[end].ready()) is not None:
            reports += prototype.unpack_reports(frame)
        self.held[end] -= len(reports)
        return reports


class Clock:
    """Remembers how late the supervisor's timer came, and when tasks were settled."""

    def __init__(self) -> None:
        self.due = time.monotonic() + TICK
        self.latest = 0.0
        self.marks: list[tuple[float, int]] = []

    def tick(self) -> float:
        """Fire when due; return the seconds until the next time."""
        now = time.monotonic()
        if now >= self.due:
            self.latest = max(self.latest, now - self.due)
            self.due = now + TICK
        return self.due - now


def one_loop(server: PrivateRedis, hands: Hands, clock: Clock, tasks: int) -> None:
    """Select over executors and the bell; call Redis from the same loop."""
    store, bell = Store(server.client(10), "loop"), Bell(server)
    left = tasks
    bell.arm()
    while left:
        waiting = [*hands.ends, bell.socket]
        readable, _, _ = select.select(waiting, [], [], clock.tick())
        settled: Settled = []
        claim = not bell.armed
        for end in readable:
            if end is bell.socket:
                bell.rung()
                claim = True
            else:
                settled += hands.take(end)
        if settled or (claim and hands.room() >= hands.batch):
            claimed = store.exchange(settled, hands.room() if claim else 0)
            clock.marks.append((time.monotonic(), len(settled)))
            left -= len(settled)
            hands.give(claimed)
            if claim and not claimed:
                bell.arm()


class Mailbox(Generic[T]):
    """A deque with a descriptor that becomes readable. One writer, one reader."""

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.event = os.eventfd(0, os.EFD_NONBLOCK)

    def put(self, item: T) -> None:
        """Add one item and wake the reader."""
        self.items.append(item)
        os.eventfd_write(self.event, 1)

    def drain(self) -> list[T]:
        """Take everything. Race: the event is read first, so a later put wakes again."""
        try:
            os.eventfd_read(self.event)
        except BlockingIOError:
            return []
        items = list(self.items)
        for _ in items:
            self.items.popleft()
        return items


def two_threads(server: PrivateRedis, hands: Hands, clock: Clock, tasks: int) -> None:
    """Main thread: executors and timers. Courier thread: Redis and the bell."""
    to_courier: Mailbox[Order] = Mailbox()
    to_main: Mailbox[Claimed] = Mailbox()
    courier = threading.Thread(
        target=_courier, args=(server, to_courier, to_main, clock, tasks), daemon=True
    )
    to_courier.put(([], hands.room()))
    asked = hands.room()
    courier.start()
    left = tasks
    while left:
        waiting: list[socket.socket | int] = [*hands.ends, to_main.event]
        readable, _, _ = select.select(waiting, [], [], clock.tick())
        settled: Settled = []
        for end in readable:
            if isinstance(end, socket.socket):
                settled += hands.take(end)
        for claimed in to_main.drain():
            asked -= len(claimed)
            hands.give(claimed)
        left -= len(settled)
        more = hands.room() - asked
        if settled or more >= hands.batch:
            asked += more
            to_courier.put((settled, more))
    courier.join()


def _courier(
    server: PrivateRedis, orders: Mailbox[Order], claims: Mailbox[Claimed], clock: Clock, tasks: int
) -> None:
    """Claim and settle, until every task is settled."""
    store, bell = Store(server.client(10), "courier"), Bell(server)
    wanted, left = 0, tasks
    while left:
        waiting: list[socket.socket | int] = [orders.event, bell.socket]
        readable, _, _ = select.select(waiting, [], [])
        if bell.socket in readable:
            bell.rung()
        settled: Settled = []
        for reports, more in orders.drain():
            settled += reports
            wanted += more
        limit = 0 if bell.armed else wanted
        if settled or limit:
            claimed = store.exchange(settled, limit)
            clock.marks.append((time.monotonic(), len(settled)))
            left -= len(settled)
            wanted -= len(claimed)
            if claimed:
                claims.put(claimed)
            elif limit:
                bell.arm()


def one_asyncio_loop(server: PrivateRedis, hands: Hands, clock: Clock, tasks: int) -> None:
    """Serve from one asyncio loop with the client's asyncio twin.

    Not ``asyncio.run``: it would cancel the waiting command at the end, and the client takes that
    for a timeout and tries again. The process ends here anyway.
    """
    asyncio.new_event_loop().run_until_complete(_asyncio(server, hands, clock, tasks))


async def _asyncio(server: PrivateRedis, hands: Hands, clock: Clock, tasks: int) -> None:
    loop = asyncio.get_running_loop()
    client: AsyncRedis = AsyncRedis(host="127.0.0.1", port=server.port, db=10, socket_timeout=None)
    script = client.register_script(prototype.EXCHANGE)
    ready, settled = asyncio.Event(), list[tuple[int, str, bytes]]()
    left, receipt, wait = tasks, 0, True

    def reported(end: socket.socket) -> None:
        settled.extend(hands.take(end))
        ready.set()

    def tick() -> None:
        loop.call_later(clock.tick(), tick)

    for end in hands.ends:
        loop.add_reader(end, reported, end)
    tick()
    bell: asyncio.Future[bytes | str | None] | None = None
    while left:
        if wait and bell is None:
            bell = asyncio.ensure_future(
                client.blmove(prototype.QUEUE, prototype.QUEUE, 0, "RIGHT", "RIGHT")
            )
            bell.add_done_callback(lambda _: ready.set())
        await ready.wait()
        ready.clear()
        if bell is not None and bell.done():
            bell, wait = None, False
        limit = hands.room() if not wait else 0
        if not settled and limit < hands.batch:
            continue
        reports, settled[:] = settled[:], []
        args: list[bytes | str | int | float] = [limit, receipt, 86_400]
        for report in reports:
            args += report
        raws: list[bytes] = await script(keys=[prototype.QUEUE, "claims:aio"], args=args)
        clock.marks.append((time.monotonic(), len(reports)))
        left -= len(reports)
        hands.give(list(enumerate(raws, receipt)))
        receipt += len(raws)
        wait = wait or (bool(limit) and not raws)
    for end in hands.ends:
        loop.remove_reader(end)


Arm = Callable[[PrivateRedis, Hands, Clock, int], None]
ARMS: dict[str, Arm] = {
    "one loop": one_loop,
    "two threads": two_threads,
    "asyncio": one_asyncio_loop,
}


def start(server: PrivateRedis, arm: Arm, batch: int, tasks: int) -> tuple[int, socket.socket]:
    """Fork a supervisor; its figures come over the socket: (cpu, latest tick, marks)."""
    ours, theirs = socket.socketpair()
    if (pid := os.fork()) == 0:
        try:
            cpu = prototype.cpu_seconds()
            hands, clock = Hands(batch), Clock()
            prototype.send_frame(theirs, b"up")
            arm(server, hands, clock, tasks)
            own = prototype.cpu_seconds() - cpu
            spent = own + prototype.end_executors(hands.ends)
            prototype.send_frame(theirs, prototype.pack((own, spent, clock.latest, clock.marks)))
        finally:
            os._exit(0)
    theirs.close()
    return pid, ours


def finish(pid: int, ours: socket.socket) -> tuple[float, float, float, list[tuple[float, int]]]:
    """Wait for the supervisor's end and its figures."""
    figures = msgspec.msgpack.decode(
        prototype.Frames(ours).one(), type=tuple[float, float, float, list[tuple[float, int]]]
    )
    ours.close()
    os.waitpid(pid, 0)
    return figures


def drain(server: PrivateRedis, arm: Arm, batch: int, tasks: int) -> list[float]:
    """Return tasks/s, worker CPU us, of it supervisor, server CPU us."""
    client = server.client(10)
    prototype.fill(client, tasks)
    before = prototype.server_cpu(client)
    own, spent, _, marks = finish(*_started(start(server, arm, batch, tasks)))
    server_spent = prototype.server_cpu(client) - before
    client.close()
    figures = [spent, own, server_spent]
    return [prototype.middle_rate(marks), *(value / tasks * 1e6 for value in figures)]


def _started(started: tuple[int, socket.socket]) -> tuple[int, socket.socket]:
    prototype.Frames(started[1]).one()
    return started


def round_trips(server: PrivateRedis, arm: Arm, tasks: int) -> list[float]:
    """Return p50 and p99 in us, and worker CPU us per task, one task at a time."""
    client = server.client(10)
    client.flushdb()
    pid, ours = _started(start(server, arm, 16, tasks))
    listener = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # theirs
    listener.psubscribe("celery-task-meta-*")
    listener.get_message(timeout=1)
    taken: list[float] = []
    for i in range(tasks):
        raw = prototype.envelope(i, 1)
        began = time.perf_counter()
        client.lpush(prototype.QUEUE, raw)
        while listener.get_message(timeout=5) is None:
            pass
        taken.append((time.perf_counter() - began) * 1e6)
    _, spent, _, _ = finish(pid, ours)
    listener.close()
    client.close()
    taken.sort()
    return [statistics.median(taken), taken[int(len(taken) * 0.99)], spent / tasks * 1e6]


def stall(server: PrivateRedis, arm: Arm, seconds: float) -> list[float]:
    """Freeze the server while tasks flow; return how late in ms the supervisor's timer came."""
    tasks = 30_000
    client = server.client(10)
    prototype.fill(client, tasks)
    pid, ours = _started(start(server, arm, 16, tasks))
    while client.llen(prototype.QUEUE) > tasks * 0.8:
        time.sleep(0.001)
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(server.pid, signal.SIGCONT)
    _, _, latest, _ = finish(pid, ours)
    client.close()
    return [latest * 1e3]


def main() -> None:
    """Run every arm in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=40_000)
    parser.add_argument("--singles", type=int, default=2_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    figures: dict[str, list[list[float]]] = defaultdict(list)
    with private_redis() as server:
        for _ in range(options.repeat):
            for name, arm in ARMS.items():
                for batch in (16, 64):
                    row = f"drain, batch {batch} | {name}"
                    figures[row].append(drain(server, arm, batch, options.tasks))
                figures[f"single | {name}"].append(round_trips(server, arm, options.singles))
                figures[f"stall of 1 s | {name}"].append(stall(server, arm, 1.0))
    print("drain: tasks/s, worker CPU us, of it supervisor, server CPU us")
    print("single: p50 us, p99 us, worker CPU us; stall: latest timer, ms")
    for row in sorted(figures):
        columns = zip(*figures[row], strict=True)
        print(f"| {row} | " + " | ".join(prototype.spread(column, 1) for column in columns) + " |")


if __name__ == "__main__":
    main()
