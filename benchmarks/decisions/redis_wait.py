"""How does an idle worker learn that a message has come, on Redis?

Three ways, against a client that pushes to kombu's lists as a Celery client does:

* ``tracking``: the driver as it is; the server tells, on the consumer's one connection, that a list
  which was found empty has changed (CLIENT TRACKING)
* ``blmove``: BLMOVE of each list onto itself, which moves nothing and blocks until there is
  something; one more connection for every list
* ``polling``: the driver where the server refuses to tell

Printed: the time from before the push until a claim is in the worker's hands, what a waiting
worker asks of the server, and what one push costs when many workers wait. A Redis of its own is
started and ended.

    PYTHONPATH=packages/umbel/src python -m benchmarks.decisions.redis_wait

Decision: docs/design/0003-how-claims-are-kept-on-redis-beside-celery-peers.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import select
import statistics
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any

from benchmarks.private_redis import PrivateRedis, private_redis
from umbel.drivers.redis import RedisDriver
from umbel.drivers.redis.connection import BROKER, Connection, pack
from umbel.drivers.redis.consumer import RedisConsumer
from umbel.model.delivery import Ack, Delivery, Settlement
from umbel.model.presence import Presence
from umbel.model.queues import Queue

QUEUE = Queue("celery")
LISTS = (b"celery", b"celery\x06\x163", b"celery\x06\x166", b"celery\x06\x169")
WAYS = ("tracking", "blmove", "polling 50 ms", "polling 10 ms")


class Waiter:
    """A consumer that waits in one of the ways."""

    def __init__(self, url: str, way: str, name: str = "bench") -> None:
        self._way = way
        options: dict[str, Any] = {}
        if way.startswith("polling"):
            options["polling_interval"] = int(way.split()[1]) / 1000
        driver = RedisDriver(url, options)
        presence = Presence(
            owner=name,
            name=name,
            pid=1,
            pool="none",
            concurrency=1,
            queues=("celery",),
            version="0",
            started=0.0,
        )
        consumer = driver.broker().open_consumer([QUEUE], presence=presence, lease=600.0)
        assert isinstance(consumer, RedisConsumer)
        self.consumer = consumer
        if way.startswith("polling"):
            consumer._told_by_server = False
        self._blocked: dict[int, tuple[Connection, bytes]] = {}
        if way == "blmove":
            for key in LISTS:
                connection = Connection(driver.result_backend().address, BROKER)
                connection.ensure(time.monotonic() + 10)
                self._block(connection, key)
        self.consumer.receive(64, 0.0)

    def _block(self, connection: Connection, key: bytes) -> None:
        command = pack(("BLMOVE", key, key, "RIGHT", "RIGHT", 0))
        connection.exchange(command, 0, time.monotonic() + 10)
        self._blocked[connection.fileno()] = (connection, key)

    def receive(self, timeout: float) -> Sequence[Delivery]:
        if self._way != "blmove":
            return self.consumer.receive(64, timeout)
        claimed: Sequence[Delivery] = self.consumer.exchange([], 64).deliveries
        deadline = time.monotonic() + timeout
        while not claimed and (remaining := deadline - time.monotonic()) > 0:
            for descriptor in select.select(list(self._blocked), [], [], remaining)[0]:
                connection, key = self._blocked.pop(descriptor)
                connection._replies(1, time.monotonic() + 10)
                claimed = (*claimed, *self.consumer.exchange([], 64).deliveries)
                self._block(connection, key)
        return claimed


def wait_in_child(url: str, way: str, pipe: Pipe, count: int) -> None:
    """Receive ``count`` messages, telling for each how old it was when it was in our hands."""
    waiter = Waiter(url, way)
    pipe.send("ready")
    done = 0
    while done < count:
        deliveries = waiter.receive(10.0)
        now = time.monotonic()
        for delivery in deliveries:
            done += 1
            pipe.send(now - float(delivery.raw))
        waiter.consumer.exchange([Settlement(each.receipt, Ack()) for each in deliveries], 0)


def latency(server: PrivateRedis, way: str, count: int) -> list[float]:
    """Return the seconds each of ``count`` pushes took to arrive, one at a time."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=wait_in_child, args=(server.url(), way, there, count))
    child.start()
    here.recv()
    client = server.client()
    found: list[float] = []
    for number in range(count):
        # Long enough for the waiter to be idle again, and out of step with its polling.
        time.sleep(0.03 + (number % 7) * 0.0031)
        client.lpush(LISTS[number % 4], repr(time.monotonic()))
        found.append(here.recv())
    client.close()
    child.join()
    return found


def asked(server: PrivateRedis) -> tuple[int, float]:
    """Return how many commands the server has carried out, and its seconds of CPU."""
    client = server.client()
    info = client.info("all")
    client.close()
    cpu = float(info["used_cpu_sys_main_thread"]) + float(info["used_cpu_user_main_thread"])
    return int(info["total_commands_processed"]), cpu


def idle(server: PrivateRedis, way: str, seconds: float) -> tuple[float, float, float]:
    """Return commands a second, client CPU and server CPU in ‰ of a core, of one idle waiter."""
    waiter = Waiter(server.url(), way)
    waiter.receive(0.2)
    commands, cpu = asked(server)
    began = time.process_time()
    waiter.receive(seconds)
    own = time.process_time() - began
    more, used = asked(server)
    waiter.consumer.close()
    return (more - commands) / seconds, own / seconds * 1000, (used - cpu) / seconds * 1000


def herd(server: PrivateRedis, way: str, waiters: int, pushes: int) -> tuple[float, float]:
    """Return commands and µs of server CPU for one push that ``waiters`` wait for."""
    stop = threading.Event()
    made = [Waiter(server.url(), way, f"w{number}") for number in range(waiters)]

    def run(waiter: Waiter) -> None:
        while not stop.is_set():
            deliveries = waiter.receive(0.5)
            waiter.consumer.exchange([Settlement(each.receipt, Ack()) for each in deliveries], 0)

    threads = [threading.Thread(target=run, args=(waiter,)) for waiter in made]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    client = server.client()
    commands, cpu = asked(server)
    for _ in range(pushes):
        client.lpush(LISTS[0], "0")
        time.sleep(0.05)
    more, used = asked(server)
    stop.set()
    for thread in threads:
        thread.join()
    for waiter in made:
        waiter.consumer.close()
    client.close()
    return (more - commands) / pushes, (used - cpu) / pushes * 1e6


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="how idle workers wait on Redis")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args(words)
    with private_redis() as server:
        print("| way | p50 ms | p99 ms | connections | idle: commands/s | client ‰ | server ‰ |")
        print("|---|---|---|---|---|---|---|")
        for way in WAYS:
            found = sorted(latency(server, way, options.count))
            commands, own, used = idle(server, way, options.seconds)
            print(
                f"| {way} | {statistics.median(found) * 1000:.2f} "
                f"| {found[int(len(found) * 0.99) - 1] * 1000:.2f} "
                f"| {5 if way == 'blmove' else 1} | {commands:.1f} | {own:.2f} | {used:.2f} |"
            )
        print("\n| way | waiters | commands for one push | server CPU µs |")
        print("|---|---|---|---|")
        for way in WAYS[:3]:
            for waiters in (1, 10, 40):
                commands, used = herd(server, way, waiters, 40)
                print(f"| {way} | {waiters} | {commands:.1f} | {used:.0f} |")


if __name__ == "__main__":
    main()
