"""What is measured, one function per scenario: a peer in, figures out.

Called by ``running`` in turn for every peer. Times in the names of figures: ``us`` microseconds,
``ms`` milliseconds, ``s`` seconds; all CPU is user and system time as the kernel accounts for it.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping

import msgspec

from benchmarks import figures, processes
from benchmarks.catalogue import Peer, Shape
from benchmarks.surveying import Bench, Server, bench

Figures = dict[str, float]


class Scale(msgspec.Struct, frozen=True):
    """How long to look."""

    seconds: float = 2.0
    """Of sending, and of draining at the expected rate."""
    calls: int = 1000
    """Round trips."""
    starts: int = 5
    """Starts of an interpreter, for the time of an import."""


QUICK = Scale(seconds=0.4, calls=100, starts=3)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table for each peer."""

    name: str
    figure: str
    """The figure that ratios are drawn from."""
    larger_is_better: bool
    run: Callable[[Peer, Server, Scale], Figures]
    shape: Shape | None = None
    """The worker it needs; a peer without it is left out."""
    results: bool = True
    same_delivery: bool = True
    """Whether the fastest rival must promise what the subject promises."""


def _sending(what: str, *, results: bool) -> Callable[[Peer, Server, Scale], Figures]:
    def run(peer: Peer, server: Server, scale: Scale) -> Figures:
        with bench(peer, server, results=results) as place:
            told = place.send(what, scale.seconds)
        count = told["count"]
        return {
            "tasks/s": count / told["seconds"],
            "client CPU us": told["cpu"] / count * 1e6,
            "server CPU us": told["server_cpu"] / count * 1e6,
        }

    return run


def _draining(shape: Shape, *, results: bool) -> Callable[[Peer, Server, Scale], Figures]:
    def run(peer: Peer, server: Server, scale: Scale) -> Figures:
        total = max(100, int(peer.rate[shape] * scale.seconds))
        with bench(peer, server, shape, results=results) as place:
            place.send("fill", total)
            with place.worker() as worker:
                measured = _drain(place, worker, total)
                if results:
                    place.wait_stored(total)
        return measured

    return run


def _drain(place: Bench, worker: processes.Worker, total: int) -> Figures:
    """Watch the counter; take CPU at the first moment past 5 % and past 95 %."""
    samples: list[figures.Sample] = []
    servers: list[float] = []
    workers: list[dict[int, float]] = []
    since = time.monotonic()
    for point in (0.05, 0.95):
        wanted = total * point
        place.wait_done(worker, int(wanted) + (wanted > int(wanted)), pause=0.001)
        samples.append(figures.Sample(time.monotonic(), place.counter.value()))
        servers.append(place.server.cpu_seconds())
        workers.append(processes.cpu_of_each(worker.pids()))
    place.wait_done(worker, total)
    first, last = figures.middle(samples, total)
    done = last.done - first.done
    spent = [value - workers[0].get(pid, 0.0) for pid, value in workers[1].items()]
    return {
        "tasks/s": figures.rate(first, last),
        "worker CPU us": sum(spent) / done * 1e6,
        "of its busiest process": max(spent) / done * 1e6,
        "server CPU us": (servers[1] - servers[0]) / done * 1e6,
        "whole s": time.monotonic() - since,
        "tasks": float(total),
    }


def _latency(peer: Peer, server: Server, scale: Scale) -> Figures:
    """One task at a time: send, wait for the result."""
    if not peer.latency:
        raise RuntimeError("it keeps no results that could be waited for")
    with bench(peer, server) as place:
        place.send("fill", 1)
        with place.worker() as worker:
            place.wait_done(worker, 1)
            before = processes.cpu_seconds(worker.pids())
            told = place.send("call", scale.calls)
            spent = processes.cpu_seconds(worker.pids()) - before
    taken = [value * 1e6 for value in told["taken"]]
    return {
        "p50 us": statistics.median(taken),
        "p95 us": figures.percentile(taken, 95),
        "p99 us": figures.percentile(taken, 99),
        "worker CPU us": spent / len(taken) * 1e6,
        "server CPU us": told["server_cpu"] / len(taken) * 1e6,
    }


def _start_up(peer: Peer, server: Server, scale: Scale) -> Figures:  # noqa: ARG001 - one
    """From the start of the worker to the end of a task that was waiting for it."""
    with bench(peer, server) as place:
        place.send("fill", 1)
        began = time.monotonic()
        with place.worker() as worker:
            place.wait_done(worker, 1, pause=0.001)
            return {"ms": (time.monotonic() - began) * 1e3}


def _idle_memory(peer: Peer, server: Server, scale: Scale) -> Figures:
    """Memory and CPU of a worker that has run one task and waits for another."""
    with bench(peer, server, Shape.TWO) as place:
        place.send("fill", 1)
        with place.worker() as worker:
            place.wait_done(worker, 1)
            time.sleep(scale.seconds / 2)
            pids = worker.pids()
            before = processes.cpu_seconds(pids)
            time.sleep(scale.seconds / 2)
            spent = processes.cpu_seconds(pids) - before
            return {
                "PSS MiB": processes.pss_bytes(pids) / 2**20,
                "processes": float(len(pids)),
                "idle CPU ms/s": spent / (scale.seconds / 2) * 1e3,
            }


def _importing(peer: Peer, server: Server, scale: Scale) -> Figures:
    """Wall time above that of an interpreter that does nothing, in turn.

    ``ms`` is that of a program's first line, such as ``from celery import Celery``; the package
    alone may be an empty shell that loads on first use, so it is told apart.
    """
    statements = ("pass", peer.imports, f"import {peer.package}")
    taken: dict[str, list[float]] = {statement: [] for statement in statements}
    with bench(peer, server) as place:
        for statement in statements:
            _interpreter(place, statement)  # writes what is compiled once
        for _ in range(scale.starts):
            for statement in statements:
                taken[statement].append(_interpreter(place, statement))
    bare, full, shell = (statistics.median(taken[statement]) for statement in statements)
    return {"ms": (full - bare) * 1e3, "package alone ms": (shell - bare) * 1e3}


def _interpreter(place: Bench, statement: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [place.python, "-c", statement], env=place.environment, cwd=place.home, check=True
    )
    return time.perf_counter() - began


def _drains() -> Mapping[str, Scenario]:
    found: dict[str, Scenario] = {}
    for short, shape in (("1", Shape.ONE), ("2", Shape.TWO), ("100", Shape.MANY)):
        for suffix, results in (("", True), ("-no-results", False)):
            found[f"drain-{short}{suffix}"] = Scenario(
                name=f"drain, {shape.value}, " + ("results stored" if results else "no results"),
                figure="tasks/s",
                larger_is_better=True,
                run=_draining(shape, results=results),
                shape=shape,
                results=results,
            )
    return found


SCENARIOS: dict[str, Scenario] = {
    "enqueue": Scenario(
        name="enqueue one by one",
        figure="tasks/s",
        larger_is_better=True,
        run=_sending("send", results=True),
        same_delivery=False,
    ),
    "bulk": Scenario(
        name="enqueue in bulk",
        figure="tasks/s",
        larger_is_better=True,
        run=_sending("send_many", results=True),
        same_delivery=False,
    ),
    **_drains(),
    "latency": Scenario(
        name="round trip, one at a time",
        figure="p50 us",
        larger_is_better=False,
        run=_latency,
        shape=Shape.ONE,
    ),
    "memory": Scenario(
        name="idle worker, 2 processes",
        figure="PSS MiB",
        larger_is_better=False,
        run=_idle_memory,
        shape=Shape.TWO,
        same_delivery=False,
    ),
    "start-up": Scenario(
        name="start of a worker to its first task done",
        figure="ms",
        larger_is_better=False,
        run=_start_up,
        shape=Shape.ONE,
        same_delivery=False,
    ),
    "import": Scenario(
        name="first import of a program, over bare python",
        figure="ms",
        larger_is_better=False,
        run=_importing,
        same_delivery=False,
    ),
}
