"""The supervisor as the funnel, or settlement in the executors? Two executor processes each.

``python -m benchmarks.decisions.funnel`` prints the table of
``docs/design/0001-the-supervisor-is-the-funnel.md``. Arms are run in turn, so that the noise of
the machine hits all alike.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import time
from collections import defaultdict
from typing import NamedTuple

import msgspec
from redis import Redis

from benchmarks.decisions import prototype
from benchmarks.private_redis import PrivateRedis, private_redis

EXECUTORS = 2
Settled = list[tuple[int, str, bytes]]


class Run(NamedTuple):
    """What one drain of the queue cost."""

    rate: float
    worker_us: float
    supervisor_us: float
    server_us: float


class Store:
    """Claims and settles in one script call. One owner, one process."""

    def __init__(self, client: Redis, owner: str) -> None:
        self.script = client.register_script(prototype.EXCHANGE)
        self.keys = [prototype.QUEUE, "claims:" + owner]
        self.receipt = 0

    def exchange(self, settled: Settled, limit: int) -> list[tuple[int, bytes]]:
        """Settle these and claim up to ``limit`` more."""
        args: list[bytes | str | int | float] = [limit, self.receipt, 86_400]
        for report in settled:
            args += report
        raws: list[bytes] = self.script(keys=self.keys, args=args)
        first = self.receipt
        self.receipt += len(raws)
        return list(enumerate(raws, first))


def funnel(server: PrivateRedis, tasks: int, batch: int, load: prototype.Load) -> Run:
    """Drain with a supervisor that claims, reads headers, hands over, and settles."""
    ends = prototype.fork_executors(EXECUTORS, load)
    client = server.client(10)
    store = Store(client, "supervisor")
    store.exchange([], 0)
    cpu, server_cpu = prototype.cpu_seconds(), prototype.server_cpu(client)
    marks: list[tuple[float, int]] = []
    frames = {end: prototype.Frames(end) for end in ends}
    dry = False
    for end in ends * 2:  # one batch in work and one waiting, so that no executor is ever idle
        _hand_over(end, store.exchange([], batch))
    left = tasks
    while left:
        readable, _, _ = select.select(ends, [], [])
        for end in readable:
            frames[end].feed()
            while (frame := frames[end].ready()) is not None:
                settled = prototype.unpack_reports(frame)
                claimed = store.exchange(settled, 0 if dry else batch)
                marks.append((time.monotonic(), len(settled)))
                left -= len(settled)
                dry = not claimed
                if claimed:
                    _hand_over(end, claimed)
    own = prototype.cpu_seconds() - cpu
    server_spent = prototype.server_cpu(client) - server_cpu
    executors = prototype.end_executors(ends)
    client.close()
    return Run(
        prototype.middle_rate(marks),
        (own + executors) / tasks * 1e6,
        own / tasks * 1e6,
        server_spent / tasks * 1e6,
    )


def _hand_over(end: socket.socket, claimed: list[tuple[int, bytes]]) -> None:
    """Look at the headers, as admission must, and send the raw batch on."""
    now = [raw for _, raw in claimed if prototype.peek(raw).headers.eta is None]
    if claimed and len(now) == len(claimed):
        prototype.send_frame(end, prototype.pack(claimed))


def self_settling(server: PrivateRedis, tasks: int, batch: int, load: prototype.Load) -> Run:
    """Drain with executors that claim and settle by themselves."""
    client = server.client(10)
    server_cpu = prototype.server_cpu(client)
    ends = []
    for index in range(EXECUTORS):
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            try:
                _alone(server, theirs, f"executor{index}", batch, load)
            finally:
                os._exit(0)
        theirs.close()
        ends.append(ours)
    marks: list[tuple[float, int]] = []
    cpu = 0.0
    for end in ends:
        spent, own = msgspec.msgpack.decode(
            prototype.Frames(end).one(), type=tuple[float, list[tuple[float, int]]]
        )
        cpu += spent
        marks += own
        end.close()
        os.wait()
    server_spent = prototype.server_cpu(client) - server_cpu
    client.close()
    return Run(prototype.middle_rate(marks), cpu / tasks * 1e6, 0.0, server_spent / tasks * 1e6)


def _alone(
    server: PrivateRedis, report_to: socket.socket, owner: str, batch: int, load: prototype.Load
) -> None:
    """Be one executor that does everything, until the queue is empty."""
    cpu = prototype.cpu_seconds()
    store = Store(server.client(10), owner)
    marks: list[tuple[float, int]] = []
    claimed = store.exchange([], batch)
    while claimed:
        settled = [
            prototype.run(receipt, raw, load)
            for receipt, raw in claimed
            if prototype.peek(raw).headers.eta is None
        ]
        claimed = store.exchange(settled, batch)
        marks.append((time.monotonic(), len(settled)))
    prototype.send_frame(report_to, prototype.pack((prototype.cpu_seconds() - cpu, marks)))


ARMS = {"funnel": funnel, "self-settling": self_settling}


def main() -> None:
    """Run every arm in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=40_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--large", type=int, default=10_000, help="bytes of a large result")
    parser.add_argument("--work", type=float, default=30.0, help="us of a task with a body")
    options = parser.parse_args()
    spins = prototype.calibrate(options.work)
    loads = {
        "small": (prototype.Load(), options.tasks),
        f"{options.large} B": (prototype.Load(padding="x" * options.large), options.tasks // 3),
        f"small, {options.work:g} us of work": (prototype.Load(spins=spins), options.tasks),
    }
    runs: dict[tuple[str, int, str], list[Run]] = defaultdict(list)
    with private_redis() as server:
        client = server.client(10)
        for label, (load, tasks) in loads.items():
            for _ in range(options.repeat):
                for batch in options.batches:
                    for name, arm in ARMS.items():
                        prototype.fill(client, tasks)
                        runs[label, batch, name].append(arm(server, tasks, batch, load))
    print("| task | batch | arm | tasks/s | worker CPU us | of it supervisor | server CPU us |")
    print("|---|---|---|---|---|---|---|")
    for (label, batch, name), measured in runs.items():
        columns = list(zip(*measured, strict=True))
        cells = [prototype.spread(column, 1 if i else 0) for i, column in enumerate(columns)]
        print(f"| {label} | {batch} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
