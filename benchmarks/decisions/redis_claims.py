"""How are claims kept on Redis, beside Celery's workers?

Three ways to take messages from kombu's lists and to end the claims, result stored and published,
each by one script a batch:

* ``owner hash``: the driver as it is; a hash per owner, one lease per owner
* ``unacked``: kombu's own hash and sorted set, entries as kombu writes them, and the score of each
  refreshed at renewal so that no Celery worker's visibility timeout takes it
* ``list``: LMOVE to a list per owner, LREM at the end

Printed: CPU of client and server per task at several batch sizes, and what renewing many claims
costs. A Redis of its own is started and ended.

    PYTHONPATH=packages/umbel/src python -m benchmarks.decisions.redis_claims

Decision: docs/design/0003-how-claims-are-kept-on-redis-beside-celery-peers.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.private_redis import PrivateRedis, private_redis
from umbel.drivers.redis import RedisDriver
from umbel.model.delivery import Ack, Effects, Settlement
from umbel.model.message import TaskMessage
from umbel.model.outcome import ResultRecord
from umbel.model.presence import Presence
from umbel.model.queues import Outgoing, Queue
from umbel.wire import result_meta, task_v2
from umbel.wire.serializers import SERIALIZERS

QUEUE = Queue("celery")
JSON = SERIALIZERS.get("json")
LIFE = 86400
PRESENCE = Presence(
    owner="bench",
    name="bench@host",
    pid=1,
    pool="none",
    concurrency=1,
    queues=("celery",),
    version="0",
    started=0.0,
)

RESULT = """
if redis.call('SET', ARGV[i + 1], ARGV[i + 2], 'EX', 86400, 'NX') then
  redis.call('PUBLISH', ARGV[i + 1], ARGV[i + 2])
end
"""

UNACKED = f"""
for i = 2, #ARGV, 3 do
  if redis.call('HDEL', 'unacked', ARGV[i]) == 1 then
    redis.call('ZREM', 'unacked_index', ARGV[i])
    {RESULT}
  end
end
local got = redis.call('RPOP', 'celery', ARGV[1]) or {{}}
local now = redis.call('TIME')[1]
local reply = {{}}
for i, raw in ipairs(got) do
  local tag = string.match(raw, '"delivery_tag"%s*:%s*"([^"]*)"')
  redis.call('HSET', 'unacked', tag, '[' .. raw .. ', "", "celery"]')
  redis.call('ZADD', 'unacked_index', now, tag)
  reply[i] = {{tag, raw}}
end
return reply
"""

LIST = f"""
for i = 2, #ARGV, 3 do
  if redis.call('LREM', 'claims', 1, ARGV[i]) == 1 then
    {RESULT}
  end
end
local reply = {{}}
for i = 1, tonumber(ARGV[1]) do
  local raw = redis.call('LMOVE', 'celery', 'claims', 'RIGHT', 'LEFT')
  if not raw then break end
  reply[i] = {{raw, raw}}
end
return reply
"""

RENEW = """
local now = redis.call('TIME')[1]
for i = 1, #ARGV do redis.call('ZADD', 'unacked_index', 'XX', now, ARGV[i]) end
"""

Step = Callable[[list[tuple[Any, bytes, bytes]], int], list[tuple[Any, bytes]]]


def messages(count: int) -> list[Outgoing]:
    """Return messages as add.delay(2, 3) makes them."""
    made = []
    for _ in range(count):
        task_id = str(uuid.uuid4())
        message = TaskMessage(
            id=task_id,
            task="tasks.add",
            args=(2, 3),
            root_id=task_id,
            argsrepr="(2, 3)",
            kwargsrepr="{}",
            origin="gen4711@host",
        )
        made.append(Outgoing(message=task_v2.encode(message, serializer=JSON), queue=QUEUE))
    return made


def document(task_id: str) -> bytes:
    """Return the result document of ``add(2, 3)``."""
    return result_meta.encode(
        task_id=task_id, status="SUCCESS", result=5, date_done=datetime.now(UTC), serializer=JSON
    )


def own_way(driver: RedisDriver) -> Step:
    """Return a step of the driver's consumer."""
    consumer = driver.broker().open_consumer(
        [QUEUE], presence=PRESENCE, lease=15.0, results=driver.result_backend()
    )

    def step(ended: list[tuple[Any, bytes, bytes]], limit: int) -> list[tuple[Any, bytes]]:
        settlements = [
            Settlement(
                receipt,
                Ack(),
                Effects(
                    (
                        ResultRecord(
                            task_id=key.decode(),
                            state="SUCCESS",
                            document=stored,
                            final=True,
                            expires=LIFE,
                        ),
                    )
                ),
            )
            for receipt, key, stored in ended
        ]
        return [
            (each.receipt, each.raw) for each in consumer.exchange(settlements, limit).deliveries
        ]

    return step


def scripted(client: Any, source: str) -> Step:
    """Return a step of one of the other scripts, over the same wire as the driver."""
    from umbel.drivers.redis.address import read
    from umbel.drivers.redis.connection import BROKER, Connection

    connection = Connection(read(client, {}).address, BROKER)
    digest = connection.call(("SCRIPT", "LOAD", source), time.monotonic() + 10)

    def step(ended: list[tuple[Any, bytes, bytes]], limit: int) -> list[tuple[Any, bytes]]:
        flat = [
            part for each in ended for part in (each[0], b"celery-task-meta-" + each[1], each[2])
        ]
        reply = connection.call(("EVALSHA", digest, 0, limit, *flat), time.monotonic() + 10)
        return [(claim, raw) for claim, raw in reply]

    return step


def server_cpu(server: PrivateRedis) -> float:
    """Return the seconds of CPU that the server has used."""
    client = server.client()
    info = client.info("cpu")
    client.close()
    return float(info["used_cpu_sys_main_thread"]) + float(info["used_cpu_user_main_thread"])


def drain(server: PrivateRedis, step: Step, batch: int, count: int) -> tuple[float, float]:
    """Drain ``count`` messages; return the µs of CPU per task, of client and server."""
    driver = RedisDriver(server.url(), {})
    publisher = driver.broker().open_publisher()
    publisher.publish(messages(count), timeout=60)
    publisher.close()
    made = document(str(uuid.uuid4()))
    ended: list[tuple[Any, bytes, bytes]] = []
    done, spent, before = 0, 0.0, server_cpu(server)
    while True:
        began = time.process_time()
        claims = step(ended, batch)
        spent += time.process_time() - began
        if not claims:
            break
        done += len(claims)
        ended = [(claim, os.urandom(16).hex().encode(), made) for claim, _ in claims]
    assert done == count
    return spent / count * 1e6, (server_cpu(server) - before) / count * 1e6


def renewals(server: PrivateRedis, driver: RedisDriver, claims: int) -> dict[str, float]:
    """Return the µs of server CPU for renewing ``claims`` claims once, the two ways."""
    publisher = driver.broker().open_publisher()
    publisher.publish(messages(claims), timeout=60)
    publisher.close()
    consumer = driver.broker().open_consumer([QUEUE], presence=PRESENCE, lease=15.0)
    receipts = [each.receipt for each in consumer.receive(claims, 5.0)]
    rounds = 200
    before = server_cpu(server)
    for _ in range(rounds):
        consumer.extend(receipts, PRESENCE)
    own = server_cpu(server) - before
    client = server.client()
    tags = [str(uuid.uuid4()) for _ in range(claims)]
    client.zadd("unacked_index", dict.fromkeys(tags, 1.0))
    renew = client.register_script(RENEW)
    before = server_cpu(server)
    for _ in range(rounds):
        renew(args=tags)
    theirs = server_cpu(server) - before
    client.delete("unacked_index")
    client.close()
    consumer.close()
    driver.broker().purge("celery")
    return {"owner hash": own / rounds * 1e6, "unacked": theirs / rounds * 1e6}


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="how claims are kept on Redis")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(words)
    with private_redis() as server:
        driver = RedisDriver(server.url(), {})
        ways: dict[str, Step] = {
            "owner hash": own_way(driver),
            "unacked": scripted(server.url(), UNACKED),
            "list": scripted(server.url(), LIST),
        }
        print("| batch | way | client CPU µs a task | server CPU µs a task |")
        print("|---|---|---|---|")
        for batch in (1, 16, 64, 256):
            count = options.count if batch > 1 else options.count // 5
            figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, step in ways.items():
                    figures[name].append(drain(server, step, batch, count))
            for name, found in figures.items():
                client, used = (statistics.median(column) for column in zip(*found, strict=True))
                print(f"| {batch} | {name} | {client:.1f} | {used:.1f} |")
        print("\n| claims held | way | server CPU µs for renewing all |")
        print("|---|---|---|")
        for claims in (10, 100, 1000):
            for name, cost in renewals(server, driver, claims).items():
                print(f"| {claims} | {name} | {cost:.0f} |")


if __name__ == "__main__":
    main()
