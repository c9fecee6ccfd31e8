"""The peers: how each is started, what it promises, how fast it may be expected to be.

Data only. ``scenarios`` starts workers from it, ``report`` compares by its labels. What a peer
imports lives in ``peers/<name>/app.py`` and ``client.py`` and runs in the peer's environment.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec


class Shape(enum.Enum):
    """How many processes and how many slots each."""

    ONE = "1 process, 1 slot"
    TWO = "2 processes, 1 slot each"
    MANY = "1 process, 100 slots"

    @property
    def slots(self) -> int:
        """Slots of one process."""
        return 100 if self is Shape.MANY else 1

    @property
    def processes(self) -> int:
        """Executing processes."""
        return 2 if self is Shape.TWO else 1


AT_LEAST_ONCE = "at least once"
AT_MOST_ONCE = "at most once"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer, configured as its own guide says is fastest."""

    name: str
    environment: str | None
    """Directory of its requirement file and environment; None runs on the harness's own."""
    module: str
    """Package under ``benchmarks.peers`` with ``app`` and ``client``."""
    package: str
    """Its package; some load nothing until a name of theirs is used."""
    imports: str
    """The first line of a program that uses it."""
    delivery: str
    """What becomes of a task whose worker is killed."""
    why: str
    """The setting or the mechanism behind ``delivery``."""
    commands: Mapping[Shape, Sequence[Sequence[str]]]
    """Arguments after the interpreter, one list for each process that is started."""
    rate: Mapping[Shape, int]
    """Tasks/s to expect, for the length of the queue only."""
    result_hash: str | None = None
    """The Redis hash its results are fields of; others have a key for each."""
    result_query: str = ""
    """The query in PostgreSQL that counts what it keeps of ended tasks."""
    store: str = "redis"
    extra: Mapping[str, str] = {}
    """More environment variables."""
    shape_extra: Mapping[Shape, Mapping[str, str]] = {}
    latency: bool = True


def _same(*command: str) -> dict[Shape, list[list[str]]]:
    """Return the command for ONE and MANY, and twice for TWO: for workers of one process."""
    return {
        Shape.ONE: [list(command)],
        Shape.TWO: [list(command), list(command)],
        Shape.MANY: [list(command)],
    }


def _rates(one: int, two: int, many: int) -> dict[Shape, int]:
    return {Shape.ONE: one, Shape.TWO: two, Shape.MANY: many}


def _umbel(*arguments: str) -> list[list[str]]:
    return [
        ["-m", "umbel", "-A", "benchmarks.peers.umbel.app", "worker", "-l", "error", *arguments]
    ]


def _celery(*arguments: str) -> list[list[str]]:
    quiet = ["-l", "error", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [["-m", "celery", "-A", "benchmarks.peers.celery.app", "worker", *quiet, *arguments]]


def _dramatiq(processes: int, threads: int) -> list[list[str]]:
    size = ["--processes", str(processes), "--threads", str(threads)]
    return [["-m", "dramatiq", "benchmarks.peers.dramatiq.app", *size, "--skip-logging"]]


def _huey(kind: str, workers: int) -> list[list[str]]:
    # -n: no periodic tasks; -d and -m: look again after a millisecond where reads do not block.
    options = ["-k", kind, "-w", str(workers), "-d", "0.001", "-m", "0.001", "-b", "1", "-n", "-q"]
    return [["-m", "huey.bin.huey_consumer", "benchmarks.peers.huey.app.huey", *options]]


def _taskiq(workers: int, tasks: int) -> list[list[str]]:
    size = ["--workers", str(workers), "--max-async-tasks", str(tasks)]
    quiet = ["--log-level", "ERROR"]
    return [["-m", "taskiq", "worker", "benchmarks.peers.taskiq.app:broker", *size, *quiet]]


_UMBEL = {
    Shape.ONE: _umbel("-c", "1"),
    Shape.TWO: _umbel("-c", "2"),
    Shape.MANY: _umbel("-P", "asyncio", "-c", "100"),
}
_HUEY = {
    Shape.ONE: _huey("thread", 1),
    Shape.TWO: _huey("process", 2),
    Shape.MANY: _huey("thread", 100),
}
_TASKIQ = {Shape.ONE: _taskiq(1, 1), Shape.TWO: _taskiq(2, 1), Shape.MANY: _taskiq(1, 100)}

PEERS: tuple[Peer, ...] = (
    Peer(
        name="umbel",
        environment=None,
        module="umbel",
        package="umbel",
        imports="from umbel import Umbel",
        delivery=AT_LEAST_ONCE,
        why="native profile: late ack, leases",
        commands=_UMBEL,
        rate=_rates(12_000, 20_000, 12_000),
        shape_extra={Shape.MANY: {"BENCH_ASYNC": "1"}},
    ),
    Peer(
        name="celery",
        environment="celery",
        module="celery",
        package="celery",
        imports="from celery import Celery",
        delivery=AT_MOST_ONCE,
        why="early ack, its default and its fastest; prefetch 128; no events, gossip, heartbeat",
        commands={
            Shape.ONE: _celery("-P", "prefork", "-c", "1"),
            Shape.TWO: _celery("-P", "prefork", "-c", "2"),
            Shape.MANY: _celery("-P", "threads", "-c", "100"),
        },
        rate=_rates(1_000, 1_500, 1_000),
    ),
    Peer(
        name="dramatiq",
        environment="dramatiq",
        module="dramatiq",
        package="dramatiq",
        imports="from dramatiq.brokers.redis import RedisBroker",
        delivery=AT_LEAST_ONCE,
        why="acknowledged after the task, heartbeats; prefetch 128",
        commands={
            Shape.ONE: _dramatiq(1, 1),
            Shape.TWO: _dramatiq(2, 1),
            Shape.MANY: _dramatiq(1, 100),
        },
        rate=_rates(4_000, 6_000, 3_500),
        # Its default prefetches two messages for a thread and then sleeps most of the time.
        extra={"dramatiq_queue_prefetch": "128"},
    ),
    Peer(
        name="taskiq",
        environment="taskiq",
        module="taskiq",
        package="taskiq",
        imports="from taskiq_redis import ListQueueBroker",
        delivery=AT_MOST_ONCE,
        why="list broker: popped before the task",
        commands=_TASKIQ,
        rate=_rates(3_000, 5_000, 3_000),
    ),
    Peer(
        name="taskiq-stream",
        environment="taskiq",
        module="taskiq",
        package="taskiq",
        imports="from taskiq_redis import ListQueueBroker",
        delivery=AT_LEAST_ONCE,
        why="stream broker: acknowledged when the result is saved",
        commands=_TASKIQ,
        rate=_rates(3_000, 5_000, 3_000),
        extra={"BENCH_STREAM": "1"},
    ),
    Peer(
        name="huey",
        environment="huey",
        module="huey",
        package="huey",
        imports="from huey import RedisHuey",
        delivery=AT_MOST_ONCE,
        why="popped before the task; results notified",
        result_hash="huey.results.bench",
        commands=_HUEY,
        rate=_rates(2_500, 4_000, 2_500),
    ),
    Peer(
        name="rq",
        environment="rq",
        module="rq",
        package="rq",
        imports="from rq import Queue",
        delivery=AT_MOST_ONCE,
        why="SimpleWorker; abandoned jobs are marked failed, not run again",
        commands={
            Shape.ONE: [["-m", "benchmarks.peers.rq.app"]],
            Shape.TWO: [["-m", "benchmarks.peers.rq.app"]] * 2,
        },
        rate=_rates(400, 600, 1),
    ),
    Peer(
        name="arq",
        environment="arq",
        module="arq",
        package="arq",
        imports="from arq import create_pool",
        delivery=AT_LEAST_ONCE,
        why="stays queued until done; polled every millisecond",
        commands=_same("-m", "benchmarks.peers.arq.app"),
        rate=_rates(700, 1_200, 2_500),
    ),
    Peer(
        name="saq",
        environment="saq",
        module="saq",
        package="saq",
        imports="from saq import Queue",
        delivery=AT_LEAST_ONCE,
        why="kept in an active list; a sweeper gives stuck jobs again",
        commands=_same("-m", "benchmarks.peers.saq.app"),
        rate=_rates(1_200, 2_000, 1_500),
    ),
    Peer(
        name="limit",
        environment=None,
        module="limit",
        package="redis",
        imports="import redis, msgspec",
        delivery=AT_LEAST_ONCE,
        why="a bare loop by hand; claims kept until settled",
        commands={
            Shape.ONE: [["-m", "benchmarks.peers.limit.app"]],
            Shape.TWO: [["-m", "benchmarks.peers.limit.app"]] * 2,
        },
        rate=_rates(30_000, 45_000, 1),
    ),
    Peer(
        name="umbel-sqlite",
        environment=None,
        module="umbel",
        package="umbel",
        imports="from umbel import Umbel",
        delivery=AT_LEAST_ONCE,
        why="native profile: late ack, leases",
        commands=_UMBEL,
        rate=_rates(6_000, 8_000, 6_000),
        store="sqlite",
        shape_extra={Shape.MANY: {"BENCH_ASYNC": "1"}},
    ),
    Peer(
        name="umbel-postgres",
        environment=None,
        module="umbel",
        package="umbel",
        imports="from umbel import Umbel",
        delivery=AT_LEAST_ONCE,
        why="native profile: late ack, leases",
        commands=_UMBEL,
        rate=_rates(4_000, 5_000, 4_000),
        result_query="SELECT count(*) FROM umbel.result",
        store="postgresql",
        shape_extra={Shape.MANY: {"BENCH_ASYNC": "1"}},
    ),
    Peer(
        name="procrastinate",
        environment="procrastinate",
        module="procrastinate",
        package="procrastinate",
        imports="from procrastinate import App",
        delivery=AT_MOST_ONCE,
        why="a stalled job stays 'doing' until a task of yours retries it; keeps no return values",
        commands=_same("-m", "benchmarks.peers.procrastinate.app"),
        rate=_rates(300, 450, 400),
        result_query="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
        store="postgresql",
        latency=False,
    ),
    Peer(
        name="huey-sqlite",
        environment="huey",
        module="huey",
        package="huey",
        imports="from huey import RedisHuey",
        delivery=AT_MOST_ONCE,
        why="popped before the task",
        commands=_HUEY,
        rate=_rates(3_000, 3_000, 2_500),
        store="sqlite",
    ),
)

BY_NAME = {peer.name: peer for peer in PEERS}
BASELINE = "celery"
LIMIT = "limit"
SUBJECTS = ("umbel", "umbel-sqlite", "umbel-postgres")
