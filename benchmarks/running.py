"""One run: every repeat visits every scenario, every scenario visits the peers in turn.

So a slow minute of the machine hits all peers of a row alike. A peer that fails a scenario is
noted and left out of it for the rest of the run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import record
from benchmarks.catalogue import Peer
from benchmarks.environments import python_of
from benchmarks.private_postgres import BenchPostgres
from benchmarks.private_redis import private_redis
from benchmarks.scenarios import SCENARIOS, Scale
from benchmarks.surveying import Server


def run(
    peers: Sequence[Peer], scenarios: Sequence[str], *, repeat: int, scale: Scale
) -> record.Record:
    """Measure; progress goes to standard error."""
    for peer in peers:
        python_of(peer.environment)
    with ExitStack() as stack:
        server = stack.enter_context(private_redis())
        servers: dict[str, BenchPostgres] = {}
        if any(peer.store == "postgresql" for peer in peers):
            servers["postgresql"] = BenchPostgres()
            stack.callback(servers["postgresql"].close)
        client = server.client()
        version = str(client.info("server")["redis_version"])
        client.close()
        found = record.Record(
            date=record.now(),
            machine=record.machine(version),
            repeat=repeat,
            seconds=scale.seconds,
        )
        for number in range(1, repeat + 1):
            for key in scenarios:
                for peer in peers:
                    chosen = servers.get(peer.store, server)
                    _measure(found, key, peer, chosen, scale, number)
    return found


def _measure(
    found: record.Record, key: str, peer: Peer, server: Server, scale: Scale, number: int
) -> None:
    scenario = SCENARIOS[key]
    if scenario.shape is not None and scenario.shape not in peer.commands:
        return
    if found.failed(key, peer.name):
        return
    try:
        measured = scenario.run(peer, server, scale)
    except Exception as reason:  # whatever a peer does, the others are measured
        found.failures.append(record.Failure(key, peer.name, f"{type(reason).__name__}: {reason}"))
        print(f"  {number} {key:20} {peer.name:14} FAILED: {reason}", file=sys.stderr, flush=True)
        return
    found.add(key, peer.name, measured)
    figure = f"{measured[scenario.figure]:12,.1f} {scenario.figure}"
    print(f"  {number} {key:20} {peer.name:14} {figure}", file=sys.stderr, flush=True)
