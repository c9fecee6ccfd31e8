"""Sends workflows and waits for their values; prints JSON lines. Runs in the peer's environment.

``workflow_client.py group 10000 5`` runs five of them, one after another; ``memory N`` builds and
sends a group of N and tells by how much that made this process larger; ``nested W D`` tells how
many bytes the messages have that begin D chords of W, one in the body of the other.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from benchmarks.peers.workflow_tasks import add, app, chain, chord, group, total

PATIENCE = 600


def run_group(size):
    result = group(add.s(i, 1) for i in range(size)).apply_async()
    sent = time.perf_counter()
    return sent, result.get(timeout=PATIENCE) == list(range(1, size + 1))


def run_chain(size):
    result = chain([add.s(0, 1), *(add.s(1) for _ in range(size - 1))]).apply_async()
    sent = time.perf_counter()
    return sent, result.get(timeout=PATIENCE) == size


def run_chord(size):
    result = chord((add.s(i, 1) for i in range(size)), total.s()).apply_async()
    sent = time.perf_counter()
    return sent, result.get(timeout=PATIENCE) == size * (size + 1) // 2


def measure(run, size, times):
    run(2)  # connections, and what is loaded late
    for _ in range(times):
        began = time.perf_counter()
        sent, right = run(size)
        ended = time.perf_counter()
        if not right:
            raise SystemExit("benchmarks: the workflow came back with another value")
        say({"s": ended - began, "send s": sent - began, "tasks/s": size / (ended - began)})


def memory(size):
    group(add.s(i, 1) for i in range(10)).apply_async()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    result = group(add.s(i, 1) for i in range(size)).apply_async()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say({"MB": (after - before) / 1024, "send s": seconds, "handles": len(result)})


def nested(width, depth):
    from redis import Redis

    from benchmarks.peers.surroundings import REDIS_PORT

    with Redis(port=REDIS_PORT) as client:
        client.flushall()
        whole = total.s()
        for _ in range(depth):
            whole = chord([add.si(i, 1) for i in range(width)], whole)
        began = time.perf_counter()
        whole.apply_async()
        seconds = time.perf_counter() - began
        # Nobody takes them: what is in the store is what was sent.
        kept = sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter())
    say({"kB": kept / 1000, "send s": seconds})


def say(told):
    print(json.dumps(told), flush=True)


def main():
    what, *numbers = sys.argv[1:]
    if what == "memory":
        memory(int(numbers[0]))
    elif what == "nested":
        nested(*map(int, numbers))
    else:
        run = {"group": run_group, "chain": run_chain, "chord": run_chord}[what]
        measure(run, *map(int, numbers))
    app.close()


if __name__ == "__main__":
    main()
